/* SPDX-License-Identifier: Apache-2.0 */
/* Counts primes below its argument: something for examples/job.sh to build. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	unsigned long limit = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000, count = 0;
	unsigned char *composite = calloc(limit + 1, 1);

	if (!composite)
		return 1;
	for (unsigned long i = 2; i < limit; i++) {
		if (composite[i])
			continue;
		count++;
		for (unsigned long j = i * i; j < limit; j += i)
			composite[j] = 1;
	}
	printf("%lu primes below %lu\n", count, limit);
	free(composite);
	return 0;
}
