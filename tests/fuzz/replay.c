/* Runs a fuzz target over its corpus (tests/fuzz/corpus/X for fuzz_X), or over the files named on the command line. */
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data;
	long size;

	if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0 || fseek(file, 0, SEEK_SET)) {
		perror(path);
		return 1;
	}
	/* Exact size, so that a sanitizer sees one byte too far. */
	data = malloc(size ? (size_t)size : 1);
	if (!data || fread(data, 1, (size_t)size, file) != (size_t)size) {
		perror(path);
		return 1;
	}
	fclose(file);
	LLVMFuzzerTestOneInput(data, (size_t)size);
	free(data);
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = strstr(argv[0], "fuzz_"), *srcdir = getenv("srcdir");
	char dir[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
	struct dirent *entry;
	unsigned files = 0;
	DIR *corpus;

	for (const char *next; name && (next = strstr(name + 1, "fuzz_"));)
		name = next;
	if (argc > 1) {
		for (int i = 1; i < argc; i++)
			if (replay(argv[i]))
				return 1;
		return 0;
	}
	snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".", name ? name + 5 : "");
	corpus = opendir(dir);
	if (!corpus) {
		perror(dir);
		return 1;
	}
	while ((entry = readdir(corpus))) {
		if (entry->d_name[0] == '.')
			continue;
		if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name) >= sizeof(path) || replay(path))
			return 1;
		files++;
	}
	closedir(corpus);
	printf("%s: %u inputs replayed\n", dir, files);
	return files ? 0 : 1; /* an empty corpus proves nothing */
}
