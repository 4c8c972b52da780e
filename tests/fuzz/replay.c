/* SPDX-License-Identifier: Apache-2.0 */
/* replay_NAME DIR: feeds every file of a corpus to its fuzz target. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "fuzz.h"

int main(int argc, char **argv)
{
	struct dirent *e;
	int n = 0;
	DIR *d;

	if (argc != 2 || !(d = opendir(argv[1]))) {
		(void)fprintf(stderr, "replay: no corpus\n");
		return 1;
	}
	while ((e = readdir(d))) {
		char *data;
		size_t len;

		if (e->d_name[0] == '.')
			continue;
		if (immure_read_file_at(dirfd(d), e->d_name, 1 << 20, &data, &len) < 0) {
			(void)fprintf(stderr, "replay: %s: cannot be read\n", e->d_name);
			return 1;
		}
		(void)LLVMFuzzerTestOneInput((const uint8_t *)data, len);
		free(data);
		n++;
	}
	(void)closedir(d);
	(void)printf("%d inputs\n", n);
	return n == 0;
}
