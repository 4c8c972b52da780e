/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's allocator. It lives for one run and is single-threaded, and most
 * of what it allocates is small and stays until the end, so the C library's
 * careful allocator would spend more time mapping, unmapping and faulting in
 * pages than the launch itself takes.
 *
 * A block is a power of two of bytes, cut from one region in the program's own
 * zeroed memory, then from mapped chunks; freed blocks wait in a list per size.
 * Pages come a few at a time before they are touched, since a trap for each costs
 * more than the page. Nothing goes back to the kernel except large blocks, which
 * are mappings of their own. Sizes are checked, a block's size is in the 16 bytes before it. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum {
	LEAST_SHIFT = 5,   /* 32 bytes, the header included */
	MOST_SHIFT = 17,   /* larger blocks are mapped one by one */
	HEADER = 16,
	FIRST_REGION = 512 << 10,
	CHUNK = 1 << 20,
	AHEAD = 48 << 10,
	PAGE = 4096,
};

struct header {
	size_t size;   /* of the block, header included */
	uint64_t mark; /* a write before the block, or a wild free, is noticed */
};
_Static_assert(sizeof(struct header) == HEADER, "blocks are aligned for any type");

struct freed {
	struct header header;
	struct freed *next;
};

/* The process's heap is state by nature; nothing else here is. */
static struct {
	char *at, *end;
	char *there; /* pages up to here are in place */
	struct freed *lists[MOST_SHIFT + 1];
	_Alignas(16) char first[FIRST_REGION];
} heap;

static const uint64_t mark = 0x696d6d7572650001;

static unsigned int shift_for(size_t size)
{
	unsigned int shift = LEAST_SHIFT;

	while (((size_t)1 << shift) < size)
		shift++;
	return shift;
}

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Asks for the pages of what was just handed out and some more. */
static void bring_pages(void)
{
	char *from = heap.there, *to = heap.at + AHEAD;

	if (to > heap.end)
		to = heap.end;
	from = (char *)(((uintptr_t)from + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
	to = (char *)((uintptr_t)to & ~(uintptr_t)(PAGE - 1));
	/* Before Linux 5.14, or out of memory: then each page traps, as ever. */
	if (to > from)
		(void)madvise(from, (size_t)(to - from), MADV_POPULATE_WRITE);
	heap.there = heap.end - heap.at > AHEAD ? to : heap.end;
}

/* Zeroed when it comes from the kernel for the first time: *ret_fresh. */
static struct header *block(size_t size, int *ret_fresh)
{
	unsigned int shift = shift_for(size);
	struct freed *f = heap.lists[shift];
	char *p;

	*ret_fresh = !f;
	if (f) {
		heap.lists[shift] = f->next;
		return &f->header;
	}
	size = (size_t)1 << shift;
	if (!heap.at) {
		heap.at = heap.first;
		heap.end = heap.first + FIRST_REGION;
		heap.there = heap.first;
	}
	if ((size_t)(heap.end - heap.at) < size) {
		p = map(CHUNK);
		if (!p)
			return NULL;
		heap.at = p;
		heap.end = p + CHUNK;
		heap.there = p;
	}
	p = heap.at;
	heap.at += size;
	if (size > AHEAD) /* room for the worst case, of which little is used */
		heap.there = heap.at;
	else if (heap.at > heap.there)
		bring_pages();
	((struct header *)p)->size = size;
	return (struct header *)p;
}

static void *allocate(size_t want, int zero)
{
	struct header *h;
	int fresh = 1;

	if (want > PTRDIFF_MAX - 65536) {
		errno = ENOMEM;
		return NULL;
	}
	if (want + HEADER > (size_t)1 << MOST_SHIFT) {
		size_t size = (want + HEADER + 4095) & ~(size_t)4095;

		h = map(size);
		if (h)
			h->size = size;
	} else {
		h = block(want + HEADER, &fresh);
	}
	if (!h) {
		errno = ENOMEM;
		return NULL;
	}
	h->mark = mark;
	if (zero && !fresh)
		memset(h + 1, 0, want);
	return h + 1;
}

static struct header *header_of(void *p)
{
	struct header *h = (struct header *)p - 1;

	if (h->mark != mark)
		abort();
	return h;
}

void *malloc(size_t size)
{
	return allocate(size, 0);
}

void *calloc(size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	return allocate(total, 1);
}

void free(void *p)
{
	struct header *h;
	int saved = errno;

	if (!p)
		return;
	h = header_of(p);
	h->mark = 0;
	if (h->size > (size_t)1 << MOST_SHIFT) {
		(void)munmap(h, h->size); /* its own mapping, so it is one */
	} else {
		struct freed *f = (struct freed *)h;
		unsigned int shift = shift_for(h->size);

		f->next = heap.lists[shift];
		heap.lists[shift] = f;
	}
	errno = saved;
}

void *realloc(void *p, size_t size)
{
	struct header *h;
	size_t room;
	void *to;

	if (!p)
		return malloc(size);
	h = header_of(p);
	room = h->size - HEADER;
	if (size <= room && (h->size <= (size_t)1 << MOST_SHIFT || size > room / 2))
		return p;
	to = malloc(size);
	if (!to)
		return NULL;
	memcpy(to, p, size < room ? size : room);
	free(p);
	return to;
}

/* musl itself asks for these in places; every block is aligned to 16 and no
 * more, so a stricter wish is refused. */
void *aligned_alloc(size_t align, size_t size)
{
	if (align > HEADER) {
		errno = EINVAL;
		return NULL;
	}
	return malloc(size);
}
