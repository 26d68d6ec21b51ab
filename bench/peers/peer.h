/* What generator and sink share: the clock, the end with a word, and sockets of loopback. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MARK "X-Bench: " /* the header field that carries the number of a message, ten digits */
#define DIGITS 10

/* Both programs and the bench read the same clock, so that their times can be compared. */
static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static inline double cpu_used(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

__attribute__((format(printf, 1, 2))) static inline void end(const char *form, ...) {
    va_list words;
    va_start(words, form);
    vfprintf(stderr, form, words);
    va_end(words);
    fputc('\n', stderr);
    exit(1);
}

static inline void *grown(void *place, size_t octets) {
    place = realloc(place, octets);
    if (!place)
        end("out of memory");
    return place;
}

static inline struct sockaddr_in loopback(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static inline void without_delay(int socket) {
    int one = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}
