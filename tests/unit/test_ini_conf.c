#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/ini_conf.h"

struct server {
	char *name;
	unsigned workers;
	unsigned timeout;
	bool fast;
	int mode;
	struct conf_list suffixes;
};

struct place {
	char *label;
	struct conf_list hosts;
	char *note;
};

struct root {
	struct server server;
	struct place places[4];
	size_t n_places;
};

static const char *const modes[] = {"simple", "kerberos", "gssapi", NULL};

static const struct conf_row server_rows[] = {
	CONF_STRING(struct server, name, NULL, "how it is called"),
	CONF_UINT(struct server, workers, 1, 1024, 32, "threads"),
	CONF_MS(struct server, timeout, 100, 3600000, "10s", "until it gives up"),
	CONF_BOOL(struct server, fast, "yes", "without care"),
	CONF_ENUM(struct server, mode, modes, "simple", "how"),
	CONF_LIST(struct server, suffixes, 8, NULL, "more names"),
	{0},
};
static const struct conf_row place_rows[] = {
	CONF_LIST_REQUIRED(struct place, hosts, 4, "where"),
	CONF_STRING(struct place, note, NULL, "anything"),
	{0},
};

static int server_instance(void *root, const char *label, void **out, struct err *err)
{
	(void)label;
	(void)err;
	*out = &((struct root *)root)->server;
	return 0;
}

static int place_instance(void *root, const char *label, void **out, struct err *err)
{
	struct root *r = root;

	if (r->n_places == PTA_ARRAY_SIZE(r->places))
		return err_set(err, -PTA_ETOOBIG, "too many places");
	r->places[r->n_places].label = strdup(label);
	assert_non_null(r->places[r->n_places].label);
	*out = &r->places[r->n_places++];
	return 0;
}

static const struct conf_section sections[] = {
	{.name = "server", .rows = server_rows, .instance = server_instance},
	{.name = "place", .labelled = true, .rows = place_rows, .instance = place_instance},
	{0},
};

static void root_done(struct root *root)
{
	conf_free_rows(server_rows, &root->server);
	for (size_t i = 0; i < root->n_places; i++) {
		conf_free_rows(place_rows, &root->places[i]);
		free(root->places[i].label);
	}
}

/* Loads text and gives the errors (malloced, "" when there are none). */
static char *errors_of_bytes(const char *text, size_t len, struct root *root)
{
	struct conf_errors errors;
	char *lines;
	int r;

	*root = (struct root){0};
	conf_errors_init(&errors);
	r = conf_load_text("t", text, len, sections, root, &errors);
	assert_int_equal(r, errors.count ? -PTA_EINVAL : 0);
	assert_true(buf_ok(&errors.text));
	lines = strdup(errors.text.len ? (const char *)errors.text.data : "");
	assert_non_null(lines);
	conf_errors_done(&errors);
	return lines;
}

static void expect_errors(const char *text, size_t len, const char *expected)
{
	struct root root;
	char *lines = errors_of_bytes(text, len, &root);

	assert_string_equal(lines, expected);
	free(lines);
	root_done(&root);
}

static void load_clean(const char *text, struct root *root)
{
	char *lines = errors_of_bytes(text, strlen(text), root);

	assert_string_equal(lines, "");
	free(lines);
}

static void values_arrive_as_written(void **state)
{
	struct root root;

	(void)state;
	load_clean("# comment\n"
		   "  ; an indented one\n"
		   "\n"
		   "[server]\r\n"
		   "name =  jürgen: a=b;c#d  \t\r\n"
		   "workers=7\n"
		   "timeout\t=\t1500ms\n"
		   "fast = OFF\n"
		   "mode = gssapi\n"
		   "suffixes = a.example, b.example\tc.example,,d.example\n"
		   "suffixes = e.example\n"
		   "[place north.example.com]\n"
		   "hosts = h1 h2:636\n"
		   "[place south]\n"
		   "hosts = [::1]:636\n"
		   "note = x",
		&root);
	assert_string_equal(root.server.name, "jürgen: a=b;c#d");
	assert_int_equal(root.server.workers, 7);
	assert_int_equal(root.server.timeout, 1500);
	assert_false(root.server.fast);
	assert_int_equal(root.server.mode, 2);
	assert_int_equal(root.server.suffixes.n, 5);
	assert_string_equal(root.server.suffixes.items[0], "a.example");
	assert_string_equal(root.server.suffixes.items[3], "d.example");
	assert_string_equal(root.server.suffixes.items[4], "e.example");
	assert_int_equal(root.n_places, 2);
	assert_string_equal(root.places[0].label, "north.example.com");
	assert_string_equal(root.places[0].hosts.items[1], "h2:636");
	assert_string_equal(root.places[1].hosts.items[0], "[::1]:636");
	assert_null(root.places[0].note);
	assert_string_equal(root.places[1].note, "x");
	root_done(&root);
}

static void what_is_left_out_has_its_default(void **state)
{
	static const char *const files[] = {"", "[server]\n", "[server]", "# nothing\n"};
	struct root root;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(files); i++) {
		load_clean(files[i], &root);
		assert_null(root.server.name);
		assert_int_equal(root.server.workers, 32);
		assert_int_equal(root.server.timeout, 10000);
		assert_true(root.server.fast);
		assert_int_equal(root.server.mode, 0);
		assert_int_equal(root.server.suffixes.n, 0);
		root_done(&root);
	}
}

static void times_have_units(void **state)
{
	static const struct {
		const char *text;
		unsigned ms;
	} cases[] = {{"100ms", 100}, {"3", 3000}, {"10s", 10000}, {"5m", 300000}, {"1h", 3600000}};
	char text[64];
	struct root root;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		snprintf(text, sizeof(text), "[server]\ntimeout = %s\n", cases[i].text);
		load_clean(text, &root);
		assert_int_equal(root.server.timeout, cases[i].ms);
		root_done(&root);
	}
}

static void each_fault_is_named_with_its_line(void **state)
{
	static const struct {
		const char *text, *errors;
	} cases[] = {
		{"name = x\n", "t:1: stands before the first [section]\n"},
		{"[server]\nname\n", "t:2: neither [section] nor 'key = value' nor a comment (keys are in lower case)\n"},
		{"[server]\nname: x\n", "t:2: neither [section] nor 'key = value' nor a comment (keys are in lower case)\n"},
		{"[server]\n= x\n", "t:2: neither [section] nor 'key = value' nor a comment (keys are in lower case)\n"},
		{"[server]\nWorkers = 3\n", "t:2: neither [section] nor 'key = value' nor a comment (keys are in lower case)\n"},
		{"[server]\nname = a\n  b\n", "t:3: starts with a blank; a value is not continued on the next line\n"},
		{"[server]\n name = a\n", "t:2: starts with a blank; a value is not continued on the next line\n"},
		{"[server]\nname = a ; b\n", "t:2: ';' behind a blank: a comment stands on a line of its own, and a value cannot hold this\n"},
		{"[server]\nname = a\t# b\n", "t:2: '#' behind a blank: a comment stands on a line of its own, and a value cannot hold this\n"},
		{"[server]\nname = ;\n", "t:2: ';' behind a blank: a comment stands on a line of its own, and a value cannot hold this\n"},
		{"[server]\nname = a\xff\n", "t:2: not UTF-8\n"},
		{"[server]\nname = a\x1b[0m\n", "t:2: a control character\n"},
		{"[server]\nname = a\rb\n", "t:2: a control character\n"},
		{"\xef\xbb\xbf[server]\n", "t:1: starts with a byte order mark; save the file as UTF-8 without it\n"},
		{"[server]\nname =\n", "t:2: 'name': has no value (at least 1 byte)\n"},
		{"[server]\nworkers = many\n", "t:2: 'workers': 'many' is not a number\n"},
		{"[server]\nworkers = 1x\n", "t:2: 'workers': '1x' is not a number\n"},
		{"[server]\nworkers = -1\n", "t:2: 'workers': '-1' is not a number\n"},
		{"[server]\nworkers = 0\n", "t:2: 'workers': 0 is outside 1 to 1024\n"},
		{"[server]\nworkers = 4294967297\n", "t:2: 'workers': 4294967297 is outside 1 to 1024\n"},
		{"[server]\nworkers = 99999999999999999999\n", "t:2: 'workers': '99999999999999999999' is not a number\n"},
		{"[server]\ntimeout = 10 s\n", "t:2: 'timeout': '10 s' is not a time (500ms, 10s, 5m, 1h)\n"},
		{"[server]\ntimeout = 2d\n", "t:2: 'timeout': '2d' is not a time (500ms, 10s, 5m, 1h)\n"},
		{"[server]\ntimeout = 0\n", "t:2: 'timeout': 0 is outside 100ms to 1h\n"},
		{"[server]\ntimeout = 4294967296h\n", "t:2: 'timeout': 4294967296h is outside 100ms to 1h\n"},
		{"[server]\nfast = maybe\n", "t:2: 'fast': 'maybe' is neither yes nor no\n"},
		{"[server]\nmode = kerberus\n", "t:2: 'mode': 'kerberus' is none of: simple, kerberos, gssapi (did you mean 'kerberos'?)\n"},
		{"[server]\nmode = ntlm\n", "t:2: 'mode': 'ntlm' is none of: simple, kerberos, gssapi\n"},
		{"[server]\nsuffixes = ,\n", "t:2: 'suffixes': has no value (at least 1 item)\n"},
		{"[server]\nsuffixes = 1 2 3 4\nsuffixes = 5 6 7 8 9\n", "t:3: 'suffixes': has more than 8 items\n"},
		{"[server]\nworkrs = 3\n", "t:2: unknown key 'workrs' in [server]; did you mean 'workers'?\n"},
		{"[server]\ncolour = red\n", "t:2: unknown key 'colour' in [server]\n"},
		{"[server]\nworkers = 3\nname = x\nworkers = 3\n", "t:4: 'workers' is given already, in line 2\n"},
		{"[serve]\ncolour = red\n", "t:1: unknown section [serve]; did you mean [server]?\n"},
		{"[sea]\ncolour = red\n", "t:1: unknown section [sea]\n"},
		{"[server]\n[server]\n", "t:2: [server] is there already, in line 1\n"},
		{"[place a]\nhosts = h\n[place A]\n", "t:3: [place A] is there already, in line 1\n"},
		{"[place a]\n", "t:1: [place] needs the key 'hosts': where\n"},
		{"[place]\n", "t:1: [place] needs a name: [place NAME]\n"},
		{"[place a b]\n", "t:1: a section is written [place NAME], without further blanks\n"},
		{"[server x]\n", "t:1: [server] takes no name behind it\n"},
		{"[server\n", "t:1: a section is written [name], and nothing follows on its line\n"},
		{"[server] x\n", "t:1: a section is written [name], and nothing follows on its line\n"},
		{"[server] ; x\n", "t:1: a section is written [name], and nothing follows on its line\n"},
		{"[]\n", "t:1: a section is written [name], and nothing follows on its line\n"},
		{"[[server]\n", "t:1: a section is written [name], and nothing follows on its line\n"},
		{"[place 123456789012345678901234567890123456789012345]\n", "t:1: the section's name is longer than 49 bytes\n"},
		{"[place 1]\nhosts=h\n[place 2]\nhosts=h\n[place 3]\nhosts=h\n[place 4]\nhosts=h\n[place 5]\nhosts=h\n", "t:9: [place 5]: too many places\n"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++)
		expect_errors(cases[i].text, strlen(cases[i].text), cases[i].errors);
	expect_errors("[server]\nname = a\0b\n", 20, "t:2: a NUL byte\n");
}

static void all_faults_come_in_one_pass(void **state)
{
	static const char text[] = "[server]\n"
				   "workers = 0\n"
				   "colour = red\n"
				   "[plaice x]\n"
				   "anything = goes\n"
				   "[place north]\n"
				   "note = a\n"
				   "note = b\n";

	(void)state;
	expect_errors(text, sizeof(text) - 1,
		"t:2: 'workers': 0 is outside 1 to 1024\n"
		"t:3: unknown key 'colour' in [server]\n"
		"t:4: unknown section [plaice]; did you mean [place]?\n"
		"t:8: 'note' is given already, in line 7\n"
		"t:6: [place] needs the key 'hosts': where\n");
}

static void a_line_at_the_limit_is_whole_and_over_it_refused(void **state)
{
	char text[512] = "[server]\nname = ", *value = text + strlen(text);
	struct root root;

	(void)state;
	memset(value, 'x', 190);
	memcpy(value + 190, "\nworkers = 3\n", 14);
	load_clean(text, &root);
	assert_int_equal(strlen(root.server.name), 190);
	assert_int_equal(root.server.workers, 3);
	root_done(&root);
	memset(value, 'x', 191);
	memcpy(value + 191, "\nworkers = 0\n", 14);
	expect_errors(text, strlen(text),
		"t:2: longer than 197 bytes; a list may be continued with the same key on the next line\n"
		"t:3: 'workers': 0 is outside 1 to 1024\n");
}

static void keys_behind_a_refused_section_line_are_not_given_to_the_section_before(void **state)
{
	static const char text[] = "[server]\nworkers = 3\n[place \xff]\nworkers = 4\n";
	struct root root;
	char *lines = errors_of_bytes(text, sizeof(text) - 1, &root);

	(void)state;
	assert_string_equal(lines, "t:3: not UTF-8\n");
	assert_int_equal(root.server.workers, 3);
	free(lines);
	root_done(&root);
}

static void an_oversize_file_and_a_flood_of_faults_are_bounded(void **state)
{
	size_t len = CONF_MAX_FILE + 1;
	char *text = malloc(len), *lines;
	struct root root;

	(void)state;
	assert_non_null(text);
	memset(text, '\n', len);
	expect_errors(text, len, "t: larger than 256 KiB\n");
	expect_errors(text, len - 1, "");
	for (size_t i = 0; i + 1 < len; i += 2)
		memcpy(text + i, "x\n", 2);
	lines = errors_of_bytes(text, len - 1, &root);
	assert_non_null(strstr(lines, "t:100: "));
	assert_null(strstr(lines, "t:101: "));
	assert_non_null(strstr(lines, "\nt: more errors are not shown\n"));
	free(lines);
	root_done(&root);
	free(text);
}

static void too_many_sections_are_refused(void **state)
{
	struct buf text = BUF_INIT(CONF_MAX_FILE);
	struct root root;
	char *lines;

	(void)state;
	for (int i = 0; i < CONF_MAX_SECTIONS + 1; i++)
		buf_printf(&text, "[place p%d]\n", i);
	assert_true(buf_ok(&text));
	lines = errors_of_bytes((const char *)text.data, text.len, &root);
	assert_non_null(strstr(lines, "more errors are not shown"));
	free(lines);
	root_done(&root);
	buf_done(&text);
}

static void a_missing_file_is_one_error(void **state)
{
	struct root root = {0};
	struct conf_errors errors;

	(void)state;
	conf_errors_init(&errors);
	assert_int_equal(conf_load("/nonexistent/pta.conf", sections, &root, &errors), -PTA_EINVAL);
	assert_int_equal(errors.count, 1);
	assert_non_null(strstr((const char *)errors.text.data, "/nonexistent/pta.conf"));
	conf_errors_done(&errors);
	root_done(&root);
}

static void a_file_is_read_from_disk(void **state)
{
	char path[] = "/tmp/test_ini_conf.XXXXXX";
	struct root root = {0};
	struct conf_errors errors;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "[server]\nworkers = 5\n", 21), 21);
	close(fd);
	conf_errors_init(&errors);
	assert_int_equal(conf_load(path, sections, &root, &errors), 0);
	assert_int_equal(root.server.workers, 5);
	unlink(path);
	conf_errors_done(&errors);
	root_done(&root);
}

static void a_dump_can_be_loaded_again(void **state)
{
	struct buf first = BUF_INIT(16384), second = BUF_INIT(16384);
	struct root root;

	(void)state;
	load_clean("[server]\nname = a b\ntimeout = 90s\nfast = no\nmode = kerberos\n"
		   "suffixes = aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example\n"
		   "suffixes = bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.example\n"
		   "suffixes = cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc.example\n",
		&root);
	conf_dump(&first, "server", NULL, server_rows, &root.server);
	root_done(&root);
	assert_true(buf_ok(&first));
	assert_non_null(strstr((char *)first.data, "[server]\nname = a b\nworkers = 32\ntimeout = 90s\nfast = no\nmode = kerberos\nsuffixes = aaa"));
	load_clean((char *)first.data, &root);
	assert_int_equal(root.server.suffixes.n, 3);
	conf_dump(&second, "server", NULL, server_rows, &root.server);
	root_done(&root);
	assert_true(buf_ok(&second));
	assert_string_equal((char *)first.data, (char *)second.data);
	buf_reset(&first);
	load_clean("[place north]\nhosts = h\n", &root);
	conf_dump(&first, "place", "north", place_rows, &root.places[0]);
	assert_string_equal((char *)first.data, "[place north]\nhosts = h\n# note is not set\n");
	root_done(&root);
	buf_done(&first);
	buf_done(&second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_arrive_as_written),
		cmocka_unit_test(what_is_left_out_has_its_default),
		cmocka_unit_test(times_have_units),
		cmocka_unit_test(each_fault_is_named_with_its_line),
		cmocka_unit_test(all_faults_come_in_one_pass),
		cmocka_unit_test(a_line_at_the_limit_is_whole_and_over_it_refused),
		cmocka_unit_test(keys_behind_a_refused_section_line_are_not_given_to_the_section_before),
		cmocka_unit_test(an_oversize_file_and_a_flood_of_faults_are_bounded),
		cmocka_unit_test(too_many_sections_are_refused),
		cmocka_unit_test(a_missing_file_is_one_error),
		cmocka_unit_test(a_file_is_read_from_disk),
		cmocka_unit_test(a_dump_can_be_loaded_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
