/* A light SMTP generator: numbered messages over many sessions, in one thread.
 *
 *     generator [OPTION ...] PORT
 *
 *   -m MESSAGES  -s SESSIONS  -l OCTETS of content  -r RECIPIENTS of each message
 *   -n           a new connection for each message; else sessions are kept open
 *   -p           pipelined: MAIL, RCPT and DATA in one write; else one command at a time
 *   -b           BDAT: MAIL, RCPT, BDAT and the content in one write
 *   -R RATE      begin so many messages in a second, where sessions are free; else as fast as it goes
 *   -d DOMAINS   recipients are spread over so many domains, message by message
 *   -f FIRST     the number of the first message
 *   -a FILE      at the end the times when each message was sent (its last octet) and accepted
 *                (250), as pairs of doubles by number
 *
 * A message that is turned away for now (4yz, or a connection closed or silent before its content) is sent
 * again over a new connection; what is refused for good, or lost in doubt, ends the program. Its last
 * line is JSON: when the first message began, when the last was accepted, CPU of its own.
 */
#include "peer.h"

/* A server with a short backlog drops connections that the client holds for established: such a
 * one never greets, and is dialled anew after this time. */
#define GREETING_S 1.0
#define REPLY_MAX 4096
#define ADDRESS_MAX 64

enum { IDLE, GREETING, EHLO, ENVELOPE, CONTENT, QUIT };

struct session {
    int fd, state, step, awaited, waits_to_write, held;
    long number;
    double dialled;
    char *out; /* what is still to be written */
    size_t left;
    char *envelope, *content;
    char in[REPLY_MAX];
};

static int n_sessions = 20, recipients = 1, new_connections, pipelined, bdat, poll_fd, port;
static long n_messages = 1000, octets = 4096, domains = 1, offset, begun, accepted, again, again_max;
static long *waiting, n_waiting; /* numbers to be sent again */
static double rate, first, last_reply, *times;
static struct session *sessions;
static FILE *times_file;

static void start(struct session *s);

static void watch(struct session *s, int how, int events) {
    struct epoll_event e = {.events = events, .data.ptr = s};
    epoll_ctl(poll_fd, how, s->fd, &e);
}

/* Write what can be written. */
static void push(struct session *s) {
    while (s->left) {
        ssize_t sent = send(s->fd, s->out, s->left, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN)
                return; /* the read side tells why */
            break;
        }
        s->out += sent;
        s->left -= sent;
    }
    if (s->waits_to_write != (s->left > 0)) {
        s->waits_to_write = s->left > 0;
        watch(s, EPOLL_CTL_MOD, EPOLLIN | (s->left ? EPOLLOUT : 0));
    }
    if (!s->left && times && (s->state == CONTENT || (bdat && s->state == ENVELOPE)))
        times[2 * (s->number - offset)] = now();
}

static void say(struct session *s, char *out, size_t length) {
    s->out = out;
    s->left = length;
    push(s);
}

static void hang_up(struct session *s) {
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    s->state = IDLE;
    s->held = s->left = s->waits_to_write = 0;
}

/* The command of a step: MAIL, each RCPT, DATA or BDAT. */
static int words(struct session *s, int step, char *to) {
    char domain[40] = "bench.example";
    if (domains > 1)
        sprintf(domain, "d%ld.bench.example", s->number % domains);
    if (step == 0)
        return sprintf(to, "MAIL FROM:<sender@bench.example>\r\n");
    if (step <= recipients)
        return sprintf(to, "RCPT TO:<r%d@%s>\r\n", step, domain);
    return bdat ? sprintf(to, "BDAT %ld LAST\r\n", octets) : sprintf(to, "DATA\r\n");
}

static void send_content(struct session *s) {
    s->state = CONTENT;
    say(s, s->content, octets + (bdat ? 0 : 3));
}

/* Begin the transaction over an open session. */
static void begin(struct session *s) {
    size_t length = 0;
    int steps = recipients + 2;
    char digits[DIGITS + 1];
    sprintf(digits, "%0*ld", DIGITS, s->number);
    memcpy(s->content + sizeof MARK - 1, digits, DIGITS);
    s->state = ENVELOPE;
    s->step = 0;
    s->awaited = steps - (bdat ? 1 : 0);
    if (!pipelined && !bdat) {
        say(s, s->envelope, words(s, 0, s->envelope));
        return;
    }
    for (int step = 0; step < steps; step++)
        length += words(s, step, s->envelope + length);
    if (bdat) {
        memcpy(s->envelope + length, s->content, octets);
        length += octets;
    }
    say(s, s->envelope, length);
}

/* The message could not be handed over now: over a new connection, then. */
static void try_again(struct session *s, const char *why) {
    if (++again > again_max)
        end("generator: turned away %ld times, at last: %s", again, why);
    waiting[n_waiting++] = s->number;
    hang_up(s);
    start(s);
}

static void dial(struct session *s) {
    struct sockaddr_in a = loopback(port);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    without_delay(s->fd);
    if (connect(s->fd, (struct sockaddr *)&a, sizeof a) && errno != EINPROGRESS)
        end("generator: cannot connect: %s", strerror(errno));
    watch(s, EPOLL_CTL_ADD, EPOLLIN);
    s->state = GREETING;
    s->dialled = now();
}

/* Take the next message, where one is due. */
static void start(struct session *s) {
    if (n_waiting)
        s->number = waiting[--n_waiting];
    else if (begun < n_messages && (!rate || now() >= first + begun / rate))
        s->number = offset + begun++;
    else
        return;
    if (s->fd < 0)
        dial(s);
    else
        begin(s);
}

static void whole(struct session *s) {
    accepted++;
    last_reply = now();
    if (times)
        times[2 * (s->number - offset) + 1] = last_reply;
    if (new_connections) {
        s->state = QUIT;
        say(s, strcpy(s->envelope, "QUIT\r\n"), 6);
    } else {
        s->state = IDLE;
        start(s);
    }
}

/* Take one whole reply. */
static void replied(struct session *s, const char *line) {
    char class = line[0];
    if (s->state == QUIT) {
        hang_up(s);
        start(s);
    } else if (s->state == IDLE) { /* 421: closed for being idle */
        hang_up(s);
    } else if (class == '4') {
        try_again(s, line);
    } else if (class != '2' && class != '3') {
        end("generator: refused: %.200s", line);
    } else if (s->state == GREETING) {
        s->state = EHLO;
        say(s, strcpy(s->envelope, "EHLO load.example\r\n"), 19);
    } else if (s->state == EHLO) {
        begin(s);
    } else if (s->state == CONTENT) {
        whole(s);
    } else if (++s->step == s->awaited) {
        if (bdat)
            s->state = CONTENT;
        else
            send_content(s);
    } else if (!pipelined && !bdat) {
        say(s, s->envelope, words(s, s->step, s->envelope));
    }
}

static void receive(struct session *s) {
    ssize_t got = recv(s->fd, s->in + s->held, REPLY_MAX - 1 - s->held, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        if (s->state == CONTENT || (bdat && s->state == ENVELOPE))
            end("generator: connection lost while a message was in doubt");
        if (s->state == IDLE || s->state == QUIT) {
            hang_up(s);
            start(s);
        } else {
            try_again(s, "connection closed");
        }
        return;
    }
    s->held += got;
    s->in[s->held] = 0;
    char *at = s->in, *line_end;
    int fd = s->fd;
    while ((line_end = strchr(at, '\n'))) {
        *line_end = 0;
        if (line_end - at >= 4 && at[3] != '-')
            replied(s, at);
        if (s->fd != fd || !s->held)
            return; /* hung up: what was read is of no use */
        at = line_end + 1;
    }
    s->held -= at - s->in;
    memmove(s->in, at, s->held);
}

static void prepare(struct session *s) {
    s->fd = -1;
    s->envelope = grown(NULL, (recipients + 3) * ADDRESS_MAX + (bdat ? octets : 0));
    s->content = grown(NULL, octets + 4);
    int length = sprintf(s->content, MARK "0000000000\r\nSubject: bench\r\n\r\n");
    while (length < octets) { /* lines of 78 letters */
        int line = octets - length < 80 ? octets - length : 80;
        memset(s->content + length, 'x', line);
        length += line;
        memcpy(s->content + length - 2, "\r\n", 2);
    }
    memcpy(s->content + octets, ".\r\n", 3);
}

static void options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "m:s:l:r:R:d:f:a:npb")) != -1) {
        switch (option) {
        case 'm': n_messages = atol(optarg); break;
        case 's': n_sessions = atoi(optarg); break;
        case 'l': octets = atol(optarg); break;
        case 'r': recipients = atoi(optarg); break;
        case 'R': rate = atof(optarg); break;
        case 'd': domains = atol(optarg); break;
        case 'a':
            if (!(times_file = fopen(optarg, "w")))
                end("generator: cannot write %s", optarg);
            break;
        case 'f': offset = atol(optarg); break;
        case 'n': new_connections = 1; break;
        case 'p': pipelined = 1; break;
        case 'b': bdat = 1; break;
        default: exit(64);
        }
    }
    if (optind + 1 != argc || n_sessions < 1 || recipients < 1 || domains < 1 || octets < 128)
        end("generator: see the head of generator.c; content has 128 octets at least");
    port = atoi(argv[optind]);
    again_max = n_messages + 1000;
    waiting = grown(NULL, (n_sessions + 1) * sizeof *waiting);
    if (times_file)
        times = calloc(2 * n_messages, sizeof *times);
}

int main(int argc, char **argv) {
    options(argc, argv);
    struct epoll_event events[256];
    poll_fd = epoll_create1(0);
    sessions = calloc(n_sessions, sizeof *sessions);
    first = now();
    for (int i = 0; i < n_sessions; i++) {
        prepare(&sessions[i]);
        start(&sessions[i]);
    }
    double looked = first;
    while (accepted < n_messages) {
        int n = epoll_wait(poll_fd, events, 256, rate || n_waiting ? 1 : 200);
        for (int i = 0; i < n; i++) {
            struct session *s = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                push(s);
            if (events[i].events & ~EPOLLOUT)
                receive(s);
        }
        if (rate || n_waiting)
            for (int i = 0; i < n_sessions; i++)
                if (sessions[i].state == IDLE)
                    start(&sessions[i]);
        if (now() - looked < GREETING_S / 4)
            continue;
        looked = now();
        for (int i = 0; i < n_sessions; i++)
            if (sessions[i].state == GREETING && looked - sessions[i].dialled > GREETING_S)
                try_again(&sessions[i], "no greeting");
    }
    if (times && (fwrite(times, 2 * sizeof *times, n_messages, times_file) != (size_t)n_messages ||
                  fclose(times_file)))
        end("generator: cannot write the times");
    printf("{\"accepted\": %ld, \"again\": %ld, \"first\": %.6f, \"last\": %.6f, "
           "\"cpu_s\": %.3f}\n",
           accepted, again, first, last_reply, cpu_used());
    return 0;
}
