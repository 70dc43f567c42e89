#include "base/log_journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"

bool log_journal_is_stderr(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;
	char tail;

	/* Only if it is still the file that systemd named. */
	if (!stream || sscanf(stream, "%llu:%llu%c", &device, &inode, &tail) != 2 || fstat(STDERR_FILENO, &st) < 0)
		return false;
	return st.st_dev == (dev_t)device && st.st_ino == (ino_t)inode;
}

#ifdef HAVE_LIBSYSTEMD

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define MAX_PIECES 40

struct message {
	struct iovec pieces[MAX_PIECES];
	int npieces;
	char text[LOG_LINE_MAX + 1024];
	size_t used;
};

bool log_journal_takes_fields(void)
{
	/* sd_journal_sendv() says nothing where there is no socket, as in a sandbox that hides it. */
	return access(JOURNAL_SOCKET, W_OK) == 0;
}

/* Begins "NAME=" and gives the room behind it; 0 when nothing more fits. */
static size_t begin(struct message *message, const char *name)
{
	size_t len = strlen(name), room = sizeof(message->text) - message->used;
	char *out = message->text + message->used;

	if (message->npieces == MAX_PIECES || room < len + 2)
		return 0;
	for (size_t i = 0; i < len; i++)
		out[i] = (char)(name[i] >= 'a' && name[i] <= 'z' ? name[i] - 'a' + 'A' : name[i]);
	out[len] = '=';
	message->pieces[message->npieces] = (struct iovec){.iov_base = out, .iov_len = len + 1};
	message->used += len + 1;
	return room - len - 1;
}

static void end(struct message *message, size_t value_len)
{
	message->pieces[message->npieces++].iov_len += value_len;
	message->used += value_len;
}

static void put(struct message *message, const char *name, const char *value, size_t len)
{
	size_t room = begin(message, name);

	if (room < len)
		return;
	memcpy(message->text + message->used, value, len);
	end(message, len);
}

static void put_fields(struct message *message, const struct log_field *fields)
{
	for (; fields && fields->type != LOG_F_END; fields++) {
		size_t room;

		if ((fields->type == LOG_F_STR || fields->type == LOG_F_STRN) && !fields->str)
			continue;
		room = begin(message, strcmp(fields->name, "request") == 0 ? "REQUEST_ID" : fields->name);
		if (room > 0)
			end(message, log_field_text(fields, message->text + message->used, room));
	}
}

bool log_journal_send(const char *program, int level, const char *event, const struct log_event_row *row, const struct log_line *line,
	const struct log_field *fields, const struct log_field *more)
{
	struct message message;

	message.npieces = 0;
	message.used = 0;
	/* What every line must have comes first: there is room. */
	put(&message, "PRIORITY", (const char[]){(char)('0' + level)}, 1);
	if (row)
		put(&message, "MESSAGE_ID", row->message_id, strlen(row->message_id));
	put(&message, "EVENT", event, strlen(event));
	put(&message, "SYSLOG_IDENTIFIER", program, strlen(program));
	put(&message, "MESSAGE", line->text, line->len);
	put_fields(&message, fields);
	put_fields(&message, more);
	return sd_journal_sendv(message.pieces, message.npieces) == 0;
}

#else

bool log_journal_takes_fields(void)
{
	return false;
}

bool log_journal_send(const char *program, int level, const char *event, const struct log_event_row *row, const struct log_line *line,
	const struct log_field *fields, const struct log_field *more)
{
	(void)program;
	(void)level;
	(void)event;
	(void)row;
	(void)line;
	(void)fields;
	(void)more;
	return false;
}

#endif
