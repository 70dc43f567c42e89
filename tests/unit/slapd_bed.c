#include "slapd_bed.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLAPD "/usr/sbin/slapd"
#define SLAPADD "/usr/sbin/slapadd"
#define READY_MS 30000

extern char **environ;

static void must(bool ok, const char *what)
{
	if (!ok) {
		perror(what);
		abort();
	}
}

bool slapd_installed(void)
{
	return access(SLAPD, X_OK) == 0 && access(SLAPADD, X_OK) == 0;
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

static FILE *create(const struct slapd_bed *bed, const char *name)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", bed->dir, name);
	file = fopen(path, "w");
	must(file != NULL, path);
	return file;
}

static void run_slapadd(const struct slapd_bed *bed)
{
	char conf[128], ldif[128];
	char *argv[] = {(char[]){"slapadd"}, (char[]){"-q"}, (char[]){"-f"}, conf, (char[]){"-l"}, ldif, NULL};
	pid_t pid;
	int status;

	snprintf(conf, sizeof(conf), "%s/slapd.conf", bed->dir);
	snprintf(ldif, sizeof(ldif), "%s/data.ldif", bed->dir);
	must(posix_spawn(&pid, SLAPADD, NULL, NULL, argv, environ) == 0, SLAPADD);
	must(waitpid(pid, &status, 0) == pid && status == 0, SLAPADD);
}

void slapd_bed_start(struct slapd_bed *bed)
{
	char conf[128], urls[128];
	char *argv[] = {(char[]){"slapd"}, (char[]){"-f"}, conf, (char[]){"-h"}, urls, (char[]){"-d"}, (char[]){"0"}, NULL};
	int status;

	snprintf(conf, sizeof(conf), "%s/slapd.conf", bed->dir);
	snprintf(urls, sizeof(urls), "ldaps://127.0.0.1:%u ldap://127.0.0.1:%u", bed->ldaps_port, bed->ldap_port);
	bed->pid = fork();
	must(bed->pid >= 0, "fork");
	if (bed->pid == 0) {
		/* However the test ends. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(SLAPD, argv);
		_exit(127);
	}
	for (int ms = 0; !answers(bed->ldaps_port) || !answers(bed->ldap_port); ms += 10) {
		must(ms < READY_MS && waitpid(bed->pid, &status, WNOHANG) == 0, "slapd does not start");
		poll(NULL, 0, 10);
	}
}

static const char *or_nothing(const char *text)
{
	return text ? text : "";
}

void slapd_bed_init(struct slapd_bed *bed, const struct test_certs *certs, const struct slapd_user *users)
{
	slapd_bed_init_with(bed, certs, users, &(const struct slapd_extra){NULL});
}

static void write_root_dse(const struct slapd_bed *bed, const char *ldif)
{
	FILE *file = create(bed, "root.ldif");

	fprintf(file, "%s", ldif);
	fclose(file);
}

void slapd_bed_init_with(struct slapd_bed *bed, const struct test_certs *certs, const struct slapd_user *users, const struct slapd_extra *extra)
{
	char path[128];
	FILE *file;

	snprintf(bed->dir, sizeof(bed->dir), "/tmp/pta-slapd-XXXXXX");
	must(mkdtemp(bed->dir) != NULL, "mkdtemp");
	snprintf(path, sizeof(path), "%s/db", bed->dir);
	must(mkdir(path, 0700) == 0, path);
	bed->ldaps_port = free_port();
	bed->ldap_port = free_port();
	file = create(bed, "slapd.conf");
	fprintf(file,
		"include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile "
		"%s/pid\nthreads 4\n"
		"TLSCACertificateFile %s\nTLSCertificateFile %s\nTLSCertificateKeyFile %s\n%s",
		bed->dir, certs->ca_file, certs->cert_file, certs->key_file, or_nothing(extra->global));
	if (extra->root_dse) {
		write_root_dse(bed, extra->root_dse);
		fprintf(file, "rootDSE %s/root.ldif\n", bed->dir);
	}
	fprintf(file, "database mdb\nsuffix dc=example,dc=com\ndirectory %s/db\nmaxsize 10485760\n%saccess to * by anonymous auth\n", bed->dir,
		or_nothing(extra->database));
	fclose(file);
	file = create(bed, "data.ldif");
	fprintf(file, "dn: dc=example,dc=com\nobjectClass: dcObject\nobjectClass: organization\no: x\ndc: example\n\n"
		      "dn: ou=people,dc=example,dc=com\nobjectClass: organizationalUnit\nou: people\n\n");
	for (; users->uid; users++)
		fprintf(file, "dn: uid=%s,ou=people,dc=example,dc=com\nobjectClass: account\nobjectClass: simpleSecurityObject\nuid: %s\nuserPassword: %s\n\n",
			users->uid, users->uid, users->password);
	fprintf(file, "%s", or_nothing(extra->ldif));
	fclose(file);
	run_slapadd(bed);
	slapd_bed_start(bed);
}

void slapd_bed_stop(struct slapd_bed *bed)
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

void slapd_bed_done(struct slapd_bed *bed)
{
	slapd_bed_stop(bed);
	nftw(bed->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
