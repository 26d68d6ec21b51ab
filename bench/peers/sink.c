/* A light SMTP sink: takes everything, keeps nothing, says when how much has come.
 *
 *     sink [-D] [-P PORT] [-r RECIPIENTS] [-a FILE] COUNT[,COUNT ...]
 *
 * Listens on loopback and prints the port ("port N") once it does. One thread, epoll, one
 * read and one write for what a client pipelines. Each message carries its number (peer.h), so
 * that what comes twice is known: a recipient of a message counts RECIPIENTS times at most. For
 * each COUNT a line "reached COUNT TIME" is printed. On TERM it prints one line of JSON and ends.
 *   -D  do not offer CHUNKING (large providers, Postfix and Exim do)
 *   -P  the port; else one that is free
 *   -r  recipients of each message
 *   -a  where the time of arrival of each message is written at the end, as doubles by number
 */
#include "peer.h"

#define BUFFER 65536
#define CLIENTS 65536
#define NUMBERS 20000000L
#define MARK_WITHIN 2048 /* trace headers come before the mark, and are not longer */

enum { COMMAND, DATA, CHUNK };

struct client {
    int fd, state, recipients, last_chunk, held;
    long number, chunk_left, content;
    char in[BUFFER + 1];
};

static struct client *clients[CLIENTS];
static double *arrived;
static int *seen;
static long numbers, taken, messages, twice, unknown, octets;
static long counts[16];
static int n_counts, next_count, recipients_each = 1, chunking = 1;
static volatile sig_atomic_t stopped;

static void stop(int signal) {
    (void)signal;
    stopped = 1;
}

/* A message is whole: count its recipients, but none more often than it was sent. */
static void count(struct client *c) {
    int fresh = c->recipients;
    messages++;
    octets += c->content;
    if (c->number < 0 || c->number >= NUMBERS) {
        unknown++;
    } else {
        long n = c->number;
        if (n >= numbers) {
            long more = n * 2 + 1024;
            arrived = grown(arrived, more * sizeof *arrived);
            seen = grown(seen, more * sizeof *seen);
            memset(arrived + numbers, 0, (more - numbers) * sizeof *arrived);
            memset(seen + numbers, 0, (more - numbers) * sizeof *seen);
            numbers = more;
        }
        if (fresh > recipients_each - seen[n]) {
            twice += fresh - (recipients_each - seen[n]);
            fresh = recipients_each - seen[n];
        }
        seen[n] += fresh;
        if (fresh)
            arrived[n] = now();
        taken += fresh;
    }
    while (next_count < n_counts && taken >= counts[next_count])
        printf("reached %ld %.6f\n", counts[next_count++], now());
}

/* Say whether to wait for more, so that the mark comes in one piece. */
static int too_little(struct client *c, long length) {
    return c->number < 0 && c->content == 0 && length < MARK_WITHIN;
}

/* Look for the number at the beginning of content. */
static void look(struct client *c, char *at, long length) {
    char *mark;
    if (c->number < 0 && c->content == 0 &&
        (mark = memmem(at, length, MARK, sizeof MARK - 1)) &&
        mark + sizeof MARK - 1 + DIGITS < at + length)
        c->number = strtol(mark + sizeof MARK - 1, NULL, 10);
}

static void begin(struct client *c) {
    c->recipients = 0;
    c->number = -1;
    c->content = 0;
}

/* Take one command line; add its reply to `out`. Returns 0 where the client is to go. */
static int command(struct client *c, char *line, char **out) {
    const char *reply = "250 2.0.0 Ok\r\n";
    int stay = 1;
    if (!strncasecmp(line, "MAIL", 4)) {
        begin(c);
    } else if (!strncasecmp(line, "RCPT", 4)) {
        c->recipients++;
    } else if (!strncasecmp(line, "DATA", 4)) {
        reply = "354 Go on\r\n";
        c->state = DATA;
    } else if (!strncasecmp(line, "BDAT ", 5)) {
        c->chunk_left = strtol(line + 5, NULL, 10);
        c->last_chunk = strcasestr(line, " LAST") != NULL;
        c->state = CHUNK;
        return 1;
    } else if (!strncasecmp(line, "EHLO", 4)) {
        reply = chunking ? "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
                           "250-CHUNKING\r\n250 ENHANCEDSTATUSCODES\r\n"
                         : "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
                           "250 ENHANCEDSTATUSCODES\r\n";
    } else if (!strncasecmp(line, "QUIT", 4)) {
        reply = "221 2.0.0 Bye\r\n";
        stay = 0;
    } else if (!strncasecmp(line, "RSET", 4)) {
        begin(c);
    } else if (strncasecmp(line, "HELO", 4) && strncasecmp(line, "NOOP", 4)) {
        reply = "500 5.5.2 Unknown\r\n";
    }
    *out = stpcpy(*out, reply);
    return stay;
}

/* Take what has come. Returns 0 where the client is to go. */
static int take(struct client *c) {
    static char replies[BUFFER * 4];
    char *at = c->in, *last = c->in + c->held, *out = replies, *line_end;
    int stay = 1;
    while (stay && at < last) {
        if (c->state == COMMAND) {
            if (!(line_end = memchr(at, '\n', last - at)))
                break;
            *line_end = 0;
            stay = command(c, at, &out);
            *line_end = '\n';
            at = line_end + 1;
            if (c->state == DATA)
                at = line_end > c->in ? line_end - 1 : line_end; /* its CRLF may precede a dot */
        } else if (c->state == DATA) {
            char *dot = memmem(at, last - at, "\r\n.\r\n", 5);
            char *upto = dot ? dot + 2 : last - 4;
            if (!dot && too_little(c, last - at))
                break;
            if (upto > at) {
                look(c, at, upto - at);
                c->content += upto - at;
                at = upto;
            }
            if (!dot)
                break;
            at += 3;
            c->content -= 2;
            count(c);
            begin(c);
            c->state = COMMAND;
            out = stpcpy(out, "250 2.0.0 Taken\r\n");
        } else {
            long length = last - at < c->chunk_left ? last - at : c->chunk_left;
            if (length < c->chunk_left && too_little(c, length))
                break;
            look(c, at, length);
            c->content += length;
            c->chunk_left -= length;
            at += length;
            if (c->chunk_left)
                break;
            if (c->last_chunk) {
                count(c);
                begin(c);
            }
            c->state = COMMAND;
            out = stpcpy(out, "250 2.0.0 Taken\r\n");
        }
    }
    c->held = last - at;
    if (c->held == BUFFER)
        end("sink: a line longer than %d octets", BUFFER);
    memmove(c->in, at, c->held);
    /* Replies are small; a client that reads none of them is not one that we measure. */
    if (out > replies && send(c->fd, replies, out - replies, MSG_NOSIGNAL) != out - replies)
        return 0;
    return stay;
}

static void accept_all(int door, int poll) {
    int fd;
    while ((fd = accept4(door, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= CLIENTS)
            end("sink: too many clients");
        struct client *c = clients[fd] = grown(NULL, sizeof *c);
        c->fd = fd;
        c->state = COMMAND;
        c->held = 0;
        begin(c);
        without_delay(fd);
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e);
        static const char greeting[] = "220 sink.example ESMTP\r\n";
        (void)!send(fd, greeting, sizeof greeting - 1, MSG_NOSIGNAL);
    }
}

static int listening(int *port) {
    struct sockaddr_in a = loopback(*port);
    socklen_t length = sizeof a;
    int one = 1, door = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(door, (struct sockaddr *)&a, length) || listen(door, 4096))
        end("sink: cannot listen: %s", strerror(errno));
    getsockname(door, (struct sockaddr *)&a, &length);
    *port = ntohs(a.sin_port);
    return door;
}

int main(int argc, char **argv) {
    char *file = NULL;
    int option, door, port = 0, poll = epoll_create1(0);
    while ((option = getopt(argc, argv, "DP:r:a:")) != -1) {
        if (option == 'D')
            chunking = 0;
        else if (option == 'P')
            port = atoi(optarg);
        else if (option == 'r')
            recipients_each = atoi(optarg);
        else if (option == 'a')
            file = optarg;
        else
            return 64;
    }
    if (optind >= argc)
        end("sink: how many recipients are to come? sink [-D] [-P PORT] [-r N] [-a FILE] COUNT[,COUNT]");
    for (char *word = strtok(argv[optind], ","); word && n_counts < 16; word = strtok(NULL, ","))
        counts[n_counts++] = atol(word);
    door = listening(&port);
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    struct rlimit files = {CLIENTS, CLIENTS};
    setrlimit(RLIMIT_NOFILE, &files);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = door}, events[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, door, &e);
    printf("port %d\n", port);
    while (!stopped) {
        int n = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == door) {
                accept_all(door, poll);
                continue;
            }
            struct client *c = clients[fd];
            ssize_t got = recv(fd, c->in + c->held, BUFFER - c->held, 0);
            if (got < 0 && errno == EAGAIN)
                continue;
            if (got > 0)
                c->held += got;
            if (got <= 0 || !take(c)) {
                close(fd);
                free(c);
                clients[fd] = NULL;
            }
        }
    }
    if (file) {
        FILE *to = fopen(file, "w");
        if (!to || (numbers && fwrite(arrived, sizeof *arrived, numbers, to) != (size_t)numbers) ||
            fclose(to))
            end("sink: cannot write %s", file);
    }
    printf("{\"recipients\": %ld, \"messages\": %ld, \"twice\": %ld, \"unknown\": %ld, "
           "\"octets\": %ld, \"cpu_s\": %.3f}\n",
           taken, messages, twice, unknown, octets, cpu_used());
    return 0;
}
