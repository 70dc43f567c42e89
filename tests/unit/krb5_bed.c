#include "krb5_bed.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define KDC "/usr/sbin/krb5kdc"
#define KDB5_UTIL "/usr/sbin/kdb5_util"
#define KADMIN "/usr/sbin/kadmin.local"
#define READY_MS 30000

static void must(bool ok, const char *what)
{
	if (!ok) {
		perror(what);
		abort();
	}
}

bool krb5_bed_installed(void)
{
	return access(KDC, X_OK) == 0 && access(KDB5_UTIL, X_OK) == 0 && access(KADMIN, X_OK) == 0;
}

/* Free at this moment; nobody else in the test takes ports by number. */
static unsigned free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 && getsockname(fd, (struct sockaddr *)&address, &len) == 0, "port");
	close(fd);
	return ntohs(address.sin_port);
}

static bool answers(unsigned port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

	close(fd);
	return ok;
}

void krb5_bed_write(const struct krb5_bed *bed, const char *name, const char *text, char path[96])
{
	FILE *file;

	snprintf(path, 96, "%s/%s", bed->dir, name);
	file = fopen(path, "w");
	must(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0, path);
}

/* The child has the bed's configuration; the test's own environment stays as it is. */
static pid_t spawn(const struct krb5_bed *bed, char *const argv[], int input)
{
	char kdc_conf[96], log[96];
	pid_t pid;

	snprintf(kdc_conf, sizeof(kdc_conf), "%s/kdc.conf", bed->dir);
	snprintf(log, sizeof(log), "%s/kdc.stderr", bed->dir);
	pid = fork();
	must(pid >= 0, "fork");
	if (pid == 0) {
		/* However the test ends. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setenv("KRB5_CONFIG", bed->krb5_conf, 1) || setenv("KRB5_KDC_PROFILE", kdc_conf, 1) || unsetenv("KRB5_TRACE") ||
			!freopen("/dev/null", "w", stdout) || (input >= 0 ? dup2(input, STDIN_FILENO) < 0 : !freopen(log, "a", stderr)))
			_exit(126);
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static void run(const struct krb5_bed *bed, char *const argv[], const char *input)
{
	FILE *file = tmpfile();
	int status;
	pid_t pid;

	must(file != NULL && fputs(input, file) >= 0 && fflush(file) == 0, "tmpfile");
	rewind(file);
	pid = spawn(bed, argv, fileno(file));
	must(waitpid(pid, &status, 0) == pid && status == 0, argv[0]);
	fclose(file);
}

void krb5_bed_kadmin(const struct krb5_bed *bed, const char *commands)
{
	run(bed, (char *[]){(char[]){KADMIN}, (char[]){"-r"}, (char[]){KRB5_BED_REALM}, NULL}, commands);
}

void krb5_bed_keytab(const struct krb5_bed *bed, const char *principal, const char *path)
{
	char command[512];

	snprintf(command, sizeof(command), "ktadd -k %s -norandkey %s\n", path, principal);
	krb5_bed_kadmin(bed, command);
	must(access(path, R_OK) == 0, command);
}

void krb5_bed_start(struct krb5_bed *bed)
{
	int status;

	bed->pid = spawn(bed, (char *[]){(char[]){KDC}, (char[]){"-n"}, NULL}, -1);
	for (int ms = 0; !answers(bed->port); ms += 10) {
		must(ms < READY_MS && waitpid(bed->pid, &status, WNOHANG) == 0, "krb5kdc does not start");
		poll(NULL, 0, 10);
	}
}

void krb5_bed_init(struct krb5_bed *bed, const struct krb5_bed_user *users)
{
	char text[2048], path[96];
	char *commands = NULL;
	size_t size;
	FILE *out;

	snprintf(bed->dir, sizeof(bed->dir), "/tmp/pta-krb5-XXXXXX");
	must(mkdtemp(bed->dir) != NULL, "mkdtemp");
	bed->port = free_port();
	snprintf(text, sizeof(text),
		"[libdefaults]\n\tdefault_realm = " KRB5_BED_REALM "\n\tdns_lookup_kdc = false\n\tdns_canonicalize_hostname = false\n\trdns = false\n"
		"\tudp_preference_limit = 1\n[realms]\n\t" KRB5_BED_REALM " = {\n\t\tkdc = 127.0.0.1:%u\n\t}\n"
		"[logging]\n\tkdc = FILE:%s/kdc.log\n",
		bed->port, bed->dir);
	krb5_bed_write(bed, "krb5.conf", text, bed->krb5_conf);
	snprintf(text, sizeof(text),
		"[kdcdefaults]\n\tkdc_listen = \"\"\n\tkdc_tcp_listen = 127.0.0.1:%u\n[realms]\n\t" KRB5_BED_REALM " = {\n"
		"\t\tdatabase_name = %s/principal\n\t\tkey_stash_file = %s/stash\n\t\tacl_file = %s/acl\n\t\tmax_life = 10h\n\t}\n",
		bed->port, bed->dir, bed->dir, bed->dir);
	krb5_bed_write(bed, "kdc.conf", text, path);
	run(bed,
		(char *[]){(char[]){KDB5_UTIL}, (char[]){"-r"}, (char[]){KRB5_BED_REALM}, (char[]){"create"}, (char[]){"-s"}, (char[]){"-W"}, (char[]){"-P"},
			(char[]){"master"}, NULL},
		"");
	out = open_memstream(&commands, &size);
	must(out != NULL, "open_memstream");
	fprintf(out, "addprinc -randkey -clearpolicy %s\n", KRB5_BED_HOST);
	for (; users->principal; users++)
		if (users->password)
			fprintf(out, "addprinc -clearpolicy -pw \"%s\" %s %s\n", users->password, users->options ? users->options : "+requires_preauth",
				users->principal);
		else
			fprintf(out, "addprinc -clearpolicy -randkey %s %s\n", users->options ? users->options : "+requires_preauth", users->principal);
	must(fclose(out) == 0, "commands");
	krb5_bed_kadmin(bed, commands);
	free(commands);
	snprintf(bed->keytab, sizeof(bed->keytab), "%s/host.keytab", bed->dir);
	krb5_bed_keytab(bed, KRB5_BED_HOST, bed->keytab);
	krb5_bed_start(bed);
}

void krb5_bed_stop(struct krb5_bed *bed)
{
	int status;

	if (bed->pid > 0) {
		kill(bed->pid, SIGTERM);
		must(waitpid(bed->pid, &status, 0) == bed->pid, "waitpid");
	}
	bed->pid = 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void krb5_bed_done(struct krb5_bed *bed)
{
	krb5_bed_stop(bed);
	nftw(bed->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

struct directory_server krb5_bed_server(const struct krb5_bed *bed)
{
	return (struct directory_server){.host = "127.0.0.1", .port = 1, .kdc_port = bed->port};
}
