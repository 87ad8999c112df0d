/* Millrace plugin ABI, major version 1: DRAFT.
 *
 * A plugin is a shared object with one exported function, millrace_plugin_entry_v1.  It describes filters;
 * the host creates an instance of a filter, configures and starts it, and asks it at the stages it declared.
 * Only C types cross: this header is C11 and C++11, for 64-bit targets.
 *
 * Rules of growth
 *   Every struct begins with struct_size, set by the side that fills it; fields are only ever appended,
 *   nothing is re-typed or re-used, and there is no implicit padding.  Read what may be missing with MR_HAS.
 *   Abilities beyond the four host calls are tables of functions, asked for by name: "mr.dns/1".  A released
 *   table never changes but by appending; what breaks gets a new number.
 *   While MR_ABI_DRAFT is not 0, host and plugin must agree on it exactly.  MR_SDK_VERSION says what was appended.
 *
 * Memory
 *   Nothing is freed across the border.  What a plugin gives is copied during the call.  What the host gives
 *   lives until the call is over: until on_stage returned MR_DONE (or an error), or complete() was called;
 *   after cancel() it is gone.
 *
 * Threads, in brackets at each function
 *   [load]  start-up and shut-down, one at a time.
 *   [stage] where the host calls on_stage: the loop, with a stack of 256 KiB; a worker thread when the filter
 *           declares MR_TRAIT_BLOCKS.
 *   [any]   every thread.
 *   No exception, longjmp or thread exit may cross.
 */
#ifndef MILLRACE_PLUGIN_H
#define MILLRACE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MR_ABI_MAJOR 1u
#define MR_ABI_MINOR 0u
#define MR_ABI_DRAFT 1u
#define MR_ENTRY_SYMBOL "millrace_plugin_entry_v1"

#if defined(__GNUC__)
#define MR_EXPORT __attribute__((visibility("default")))
#else
#define MR_EXPORT
#endif

/* Is `field` of the struct that `p` points to (of that type) there?  For structs from the other side. */
#define MR_HAS(type, p, field) \
  ((p) != NULL && (p)->struct_size >= (uint32_t)(offsetof(type, field) + sizeof((p)->field)))

/* A slot and its generation: a handle whose thing is gone is refused with MR_E_STALE. 0 is no handle. */
typedef uint64_t mr_handle;

/* Bytes, not NUL-terminated.  data may be NULL when size is 0. */
typedef struct mr_string {
  const char *data;
  uint64_t size;
} mr_string;

/* Return codes: 0 or more is success. */
typedef int32_t mr_rc;
enum {
  MR_OK = 0,
  /* What on_stage returns, beside negative codes (the filter failed: its failure policy answers). */
  MR_DONE = 0,         /* the verdict is filled in */
  MR_PENDING = 1,      /* exactly one complete() follows, or came already */

  MR_E_FAILED = -1,    /* it did not work; the log says why */
  MR_E_STALE = -2,     /* the handle's thing is gone */
  MR_E_ARGUMENT = -3,  /* nonsense was asked */
  MR_E_DENIED = -4,    /* not declared in the descriptor */
  MR_E_STAGE = -5,     /* not at this stage */
  MR_E_THREAD = -6,    /* not from this thread */
  MR_E_ABSENT = -7,    /* there is no such header, fact, recipient */
  MR_E_LIMIT = -8      /* over a limit */
};

/* Stages, as bits of what a filter wants. */
enum {
  MR_STAGE_CONNECT = 1 << 0,
  MR_STAGE_HELO = 1 << 1,
  MR_STAGE_MAIL = 1 << 2,
  MR_STAGE_RCPT = 1 << 3,
  MR_STAGE_DATA = 1 << 4,
  MR_STAGE_MESSAGE = 1 << 5, /* headers and body are there; the only stage for edits */
  MR_STAGE_ABORT = 1 << 6,   /* the transaction is over, whatever became of it; the verdict is ignored */
  MR_STAGE_CLOSE = 1 << 7,   /* the session is over; last call for it; free what session_data points to */
  MR_STAGE_UNKNOWN = 1 << 8  /* a command that is none */
};

/* Verdicts. */
enum {
  MR_CONTINUE = 0,   /* no opinion */
  MR_ACCEPT = 1,     /* content with the session (connect, helo) or message; do not ask me again for it */
  MR_REJECT = 2,     /* 5xx */
  MR_TEMPFAIL = 3,   /* 4xx */
  MR_DISCARD = 4,    /* mail to message: the client sees 250, nobody gets it */
  MR_QUARANTINE = 5, /* mail to message: into the hold queue */
  MR_DISCONNECT = 6  /* 421 or 521, and the connection is closed */
};
enum {
  MR_VERDICT_FOR_SESSION = 1 << 0 /* connect, helo: a refusal that answers every later transaction */
};

typedef struct mr_fact {
  mr_string name, value;
} mr_fact;

typedef struct mr_verdict {
  uint32_t struct_size;
  int32_t action;
  int32_t smtp_code; /* 0: the action's own; else its class must fit the action */
  uint32_t flags;
  mr_string enhanced;  /* "5.7.1" or empty; its class must fit too */
  mr_string text;      /* for the client: one line, no control characters; UTF-8 only with SMTPUTF8 */
  mr_string reason_id; /* stable symbol for logs and dashboards: letters, digits, "-", "_", "." */
  double score;
  const mr_fact *facts; /* for the decision trace */
  uint64_t fact_count;
} mr_verdict;

typedef struct mr_event {
  uint32_t struct_size;
  uint32_t stage;         /* one MR_STAGE_ bit */
  mr_handle call;         /* of this call: for complete() and "mr.dns/1" */
  mr_handle session;      /* the same at all stages of a session: for "mr.session/1" */
  mr_handle message;      /* the transaction as this call sees it: for "mr.msg/1" */
  uint64_t deadline_ns;   /* on now_ns()'s clock; an answer after it is not heard */
  void **session_data;    /* the plugin's own pointer for this session, NULL at first; valid until CLOSE */
  mr_string argument;     /* helo: name; mail, rcpt: path as typed, with brackets; unknown: the line */
  mr_string command;      /* the SMTP command with its argument */
  const mr_string *parameters; /* mail, rcpt: ESMTP parameters */
  uint64_t parameter_count;
} mr_event;

/* --- the host ----------------------------------------------------------------------------------- */

enum { MR_LOG_INFO = 0, MR_LOG_WARNING = 1, MR_LOG_ERROR = 2 };

/* The frozen core.  `ctx` is host->ctx in all functions of the host. */
typedef struct mr_host {
  uint32_t struct_size, abi_major, abi_minor, abi_draft;
  void *ctx;
  /* A table of functions by id, NULL when there is none. [any] */
  const void *(*get_interface)(void *ctx, const char *id);
  /* The answer to a call.  Also from inside on_stage, which then returns MR_PENDING: the way to give texts
     that do not outlive it.  MR_E_STALE when it comes late or twice: harmless, counted. [any] */
  mr_rc (*complete)(void *ctx, mr_handle call, const mr_verdict *verdict);
  /* `about`: a call or session, or 0. [any] */
  void (*log)(void *ctx, mr_handle about, int32_t level, mr_string text);
  uint64_t (*now_ns)(void *ctx); /* monotonic [any] */
} mr_host;

/* "mr.session/1": what is known of the SMTP session. */
typedef struct mr_session_1 {
  uint32_t struct_size, reserved;
  /* client_address client_port client_name reverse_client_name server_address server_port service
     protocol helo_name tls_protocol tls_cipher sasl_method sasl_username sasl_sender.
     MR_E_ABSENT for other names, and where there is nothing to tell. [any, during a call] */
  mr_rc (*get)(void *ctx, mr_handle session, const char *name, mr_string *value);
} mr_session_1;

/* "mr.msg/1": envelope, headers, body.  Reading: [any, during a call].  Edits: the same, at
   MR_STAGE_MESSAGE (header_prepend: also before), of the kinds declared; they are applied together when the verdict is heard in time and
   lets the message pass, and later filters see them, the filter itself does not. */
typedef struct mr_msg_1 {
  uint32_t struct_size, reserved;
  /* Envelope: queue_id, sender, recipients accepted so far (or, at rcpt, the one asked about). */
  mr_rc (*queue_id)(void *ctx, mr_handle message, mr_string *id);
  mr_rc (*sender)(void *ctx, mr_handle message, mr_string *address);
  mr_rc (*recipient_count)(void *ctx, mr_handle message, uint64_t *count);
  mr_rc (*recipient_at)(void *ctx, mr_handle message, uint64_t index, mr_string *address);
  /* Headers, without the host's own Received.  Values without one leading space, folds as LF and white
     space. */
  mr_rc (*header_count)(void *ctx, mr_handle message, uint64_t *count);
  mr_rc (*header_at)(void *ctx, mr_handle message, uint64_t index, mr_string *name, mr_string *value);
  mr_rc (*header_find)(void *ctx, mr_handle message, mr_string name, uint64_t nth, mr_string *value); /* from 1 */
  /* The body, CRLF line ends, dots not stuffed; *got is 0 at the end. */
  mr_rc (*body_size)(void *ctx, mr_handle message, uint64_t *octets);
  mr_rc (*body_read)(void *ctx, mr_handle message, uint64_t offset, void *into, uint64_t size, uint64_t *got);
  /* Edits.  nth (from 1, of a name) and index (as in header_at) mean the fields as they are read here, whatever
     this call has changed already.  insert: above the field `index`, or at the end where there is none.
     prepend: above everything, the place of trace fields. */
  mr_rc (*header_add)(void *ctx, mr_handle message, mr_string name, mr_string value);
  mr_rc (*header_insert)(void *ctx, mr_handle message, uint64_t index, mr_string name, mr_string value);
  /* Also at mail, rcpt and data: the field goes above the Received field of this host when the message comes. */
  mr_rc (*header_prepend)(void *ctx, mr_handle message, mr_string name, mr_string value);
  mr_rc (*header_change)(void *ctx, mr_handle message, mr_string name, uint64_t nth, mr_string value);
  mr_rc (*header_delete)(void *ctx, mr_handle message, mr_string name, uint64_t nth);
  mr_rc (*recipient_add)(void *ctx, mr_handle message, mr_string address);
  mr_rc (*recipient_delete)(void *ctx, mr_handle message, mr_string address);
  mr_rc (*sender_change)(void *ctx, mr_handle message, mr_string address);
  /* The first call begins a body that takes the old one's place; later ones append.  Line ends become CRLF. */
  mr_rc (*body_append)(void *ctx, mr_handle message, mr_string bytes);
  /* Since SDK 0.3.  All header fields octet for octet as they are, CRLF line ends, without the host's own Received and
     without the empty line: for what hashes them. */
  mr_rc (*header_text)(void *ctx, mr_handle message, mr_string *text);
} mr_msg_1;

/* "mr.mime/1", since SDK 0.3: the message as parts, in order; part 0 is the message itself, what is in a multipart or an
   attached message follows it, one deeper.  At MR_STAGE_MESSAGE.  [any, during a call] */
typedef struct mr_mime_part {
  uint32_t struct_size; /* set by the caller */
  uint32_t depth;
  mr_string type;        /* "text/plain", lower case; also where the part does not say */
  mr_string encoding;    /* "base64", lower case; "7bit" where it does not say */
  mr_string disposition; /* "attachment", lower case; or empty */
  mr_string filename;    /* Content-Disposition's filename, else Content-Type's name; RFC 2231 put together; not to be
                            trusted as a path */
  mr_string charset;     /* lower case; or empty */
  uint64_t body_offset, body_size; /* for "mr.msg/1" body_read: as it came */
} mr_mime_part;
typedef struct mr_mime_1 {
  uint32_t struct_size, reserved;
  /* 1000 at most: what is beyond belongs to the part before. */
  mr_rc (*part_count)(void *ctx, mr_handle message, uint64_t *count);
  mr_rc (*part_at)(void *ctx, mr_handle message, uint64_t index, mr_mime_part *part);
  mr_rc (*part_header)(void *ctx, mr_handle message, uint64_t index, mr_string name, uint64_t nth, mr_string *value);
  /* The body, base64 and quoted-printable decoded; *got is 0 at the end.  Reading forward is cheap. */
  mr_rc (*part_read)(void *ctx, mr_handle message, uint64_t index, uint64_t offset, void *into, uint64_t size,
                     uint64_t *got);
} mr_mime_1;

/* "mr.dns/1" */
enum { MR_DNS_A = 1, MR_DNS_NS = 2, MR_DNS_CNAME = 5, MR_DNS_PTR = 12, MR_DNS_MX = 15, MR_DNS_TXT = 16, MR_DNS_AAAA = 28 };
enum {
  MR_DNS_OK = 0,
  MR_DNS_NO_DATA = 1,   /* the name is there, without such records */
  MR_DNS_NO_NAME = 2,   /* NXDOMAIN */
  MR_DNS_TEMPORARY = 3, /* time-out, SERVFAIL, forged: ask again later */
  MR_DNS_INVALID = 4    /* question or answer malformed */
};
typedef struct mr_dns_record {
  uint32_t ttl;
  uint16_t preference; /* MX */
  uint16_t reserved;
  mr_string value; /* address, host name without its last dot, TXT bytes joined */
} mr_dns_record;
typedef struct mr_dns_answer {
  uint32_t struct_size;
  int32_t status;
  uint32_t is_secure; /* DNSSEC vouches for it */
  uint32_t reserved;
  const mr_dns_record *records;
  uint64_t record_count;
} mr_dns_answer;
typedef struct mr_dns_1 {
  uint32_t struct_size, reserved;
  /* Looks as if it blocked; other sessions go on meanwhile.  Ends at the call's deadline at the latest, then
     with MR_E_STALE: return from on_stage soon.  `answer->struct_size` is set by the caller.  [stage; not in
     worker threads] */
  mr_rc (*query)(void *ctx, mr_handle call, mr_string name, uint32_t type, mr_dns_answer *answer);
  /* Since SDK 0.2.  The same with a deadline of its own, on now_ns()'s clock: what has not come by then is
     MR_DNS_TEMPORARY, and the call goes on. */
  mr_rc (*query_until)(void *ctx, mr_handle call, mr_string name, uint32_t type, uint64_t deadline_ns,
                       mr_dns_answer *answer);
} mr_dns_1;

/* "mr.timer/1": waiting, and doing something now and then. */
typedef struct mr_timer_1 {
  uint32_t struct_size, reserved;
  /* Looks as if it blocked.  Ends at the call's deadline at the latest, then with MR_E_STALE.  [stage; not in
     worker threads] */
  mr_rc (*sleep_until)(void *ctx, mr_handle call, uint64_t at_ns);
  /* Calls fire(argument) after delay_ns, then each period_ns when that is not 0 (1 ms is the least), on a stack
     as a stage's; never two at once for one timer.  At most 64 at a time: MR_E_LIMIT.  [load, stage, fire; not
     in worker threads] */
  mr_rc (*start)(void *ctx, uint64_t delay_ns, uint64_t period_ns, void (*fire)(void *argument), void *argument,
                 mr_handle *timer);
  /* It does not fire any more once this returned, unless it is firing now.  All are stopped before the
     filter's own stop() is called.  [load, stage, fire; not in worker threads] */
  mr_rc (*stop)(void *ctx, mr_handle timer);
} mr_timer_1;

/* "mr.kv/1": state that outlives a session: counts, lists of who was seen.  Keys belong to the filter (its
   plugin and id); up to 255 bytes, values up to MR_KV_MAX_VALUE.  ttl_ns 0: for as long as there is room; what is oldest
   goes first.  All processes of the mail system see the same; `millrace policyd` has its own.  State is a memory, not a
   store: it may be lost.  [any, and load; may suspend in a stage] */
#define MR_KV_MAX_VALUE 2000u
typedef struct mr_kv_1 {
  uint32_t struct_size, reserved;
  /* The value lives as other texts of the call do.  MR_E_ABSENT. */
  mr_rc (*get)(void *ctx, mr_handle call, mr_string key, mr_string *value);
  mr_rc (*put)(void *ctx, mr_string key, mr_string value, uint64_t ttl_ns);
  /* Adds to a number (0 at first) and tells the sum; a new entry lives ttl_ns from now, an old one as long as
     it did.  MR_E_ARGUMENT where the value is no number. */
  mr_rc (*add)(void *ctx, mr_string key, int64_t delta, uint64_t ttl_ns, int64_t *sum);
  mr_rc (*remove)(void *ctx, mr_string key);
  /* Since SDK 0.3.  A new time to live for what is there; MR_E_ABSENT. */
  mr_rc (*expire)(void *ctx, mr_string key, uint64_t ttl_ns);
} mr_kv_1;

/* "mr.metrics/1": numbers for the operator (main.cf: metrics_listen).  Names as reason_id's, at most 64 of them: MR_E_LIMIT. [any] */
typedef struct mr_metrics_1 {
  uint32_t struct_size, reserved;
  mr_rc (*count)(void *ctx, const char *name, uint64_t delta); /* only grows */
  mr_rc (*set)(void *ctx, const char *name, double value);     /* goes up and down */
} mr_metrics_1;

/* "mr.auth_results/1": what goes into this host's Authentication-Results field (RFC 8601). */
typedef struct mr_auth_results_1 {
  uint32_t struct_size, reserved;
  /* At mail, rcpt, data and message; needs MR_EDIT_HEADERS.  `method` "spf", `result` "pass", `reason` one line or
     empty, properties as ("smtp.mailfrom", "example.com").  What the filters of a chain say at one stage becomes
     one field.  [any, during a call] */
  mr_rc (*add)(void *ctx, mr_handle message, mr_string method, mr_string result, mr_string reason,
               const mr_fact *properties, uint64_t property_count);
  /* The name this host signs such fields with. [any] */
  mr_rc (*identity)(void *ctx, mr_handle call, mr_string *authserv_id);
} mr_auth_results_1;

/* "mr.table/1": lookup tables as main.cf has them, "hash:/etc/postfix/access", "inline:{a=b}". */
typedef struct mr_table_1 {
  uint32_t struct_size, reserved;
  /* Opens a table, or tells the handle of one that is open.  It lives as long as the filter.  [load] */
  mr_rc (*open)(void *ctx, mr_string type_and_name, mr_handle *table);
  /* MR_E_ABSENT: not there.  MR_E_FAILED: the table could not say, which is not the same.  [stage; not in worker
     threads] */
  mr_rc (*find)(void *ctx, mr_handle call, mr_handle table, mr_string key, mr_string *value);
} mr_table_1;

/* "mr.worker/1": for what computes or reads files for long. */
typedef struct mr_worker_1 {
  uint32_t struct_size, reserved;
  /* Runs work(argument) on a thread of the pool; looks as if it blocked, and returns when the work has, however
     late.  In there, only [any] functions. [stage; not in worker threads] */
  mr_rc (*run)(void *ctx, mr_handle call, void (*work)(void *argument), void *argument);
} mr_worker_1;

/* "mr.private_files/1", since SDK 0.3: files that only root may read, keys for instance: those of main.cf's
   plugin_private_files, read before the host gave its rights away. */
typedef struct mr_private_files_1 {
  uint32_t struct_size, reserved;
  /* By the path as main.cf's patterns give it.  The text lives until configure or start returns.  MR_E_ABSENT.  [load] */
  mr_rc (*read)(void *ctx, mr_string path, mr_string *text);
} mr_private_files_1;

/* --- the plugin --------------------------------------------------------------------------------- */

enum { /* edits */
  MR_EDIT_HEADERS = 1 << 0,
  MR_EDIT_BODY = 1 << 1,
  MR_EDIT_ENVELOPE = 1 << 2
};
enum { MR_BODY_NONE = 0, MR_BODY_WHOLE = 1 }; /* body_need: with NONE, body_read and "mr.mime/1" are MR_E_DENIED */
enum { /* threads: how many calls of one instance may be under way at once */
  MR_THREADS_SERIAL = 0, /* one */
  MR_THREADS_FREE = 1    /* max_concurrency, or any number when that is 0 */
};
enum { /* traits */
  MR_TRAIT_BLOCKS = 1 << 0,        /* on_stage may block: it is run on a worker thread */
  MR_TRAIT_DETERMINISTIC = 1 << 1, /* the same input gives the same verdict: fit for replay */
  MR_TRAIT_NETWORK = 1 << 2,       /* opens connections of its own */
  MR_TRAIT_FILES = 1 << 3          /* opens files while running */
};
enum { MR_STATUS_STABLE = 0, MR_STATUS_ALPHA = 1, MR_STATUS_WIP = 2 };
enum { MR_POSTURE_ROBUST = 0, MR_POSTURE_TRUSTED_ONLY = 1 }; /* to untrusted clients; or for trusted input */

/* Plain data, constant. */
typedef struct mr_descriptor {
  uint32_t struct_size;
  uint32_t stages, edits, body_need, threads, traits;
  uint32_t max_concurrency;
  uint32_t status, posture;
  uint32_t reserved;
  const char *id;      /* unique in the plugin: letters, digits, "_", "-" */
  const char *version; /* of the plugin */
  const char *summary; /* one line */
  /* Interfaces it cannot do without, NULL-terminated; may be NULL.  One that the host lacks: not loaded. */
  const char *const *required_interfaces;
  /* JSON: {"name": {"type": "string|integer|boolean|time", "default": …, "doc": "…"}, …}; may be NULL. */
  const char *config_schema;
  /* Since SDK 0.2.  Filters ("dkim", "milter:", "spf/ID") that this one must be asked before or after when they
     are in the same chain; NULL-terminated, may be NULL.  They are put so whatever main.cf's order; where that cannot be,
     the start is refused. */
  const char *const *before, *const *after;
} mr_descriptor;

/* "mr.restriction/1", offered by a filter's get_interface: the word `check_plugin NAME` in a restriction list. */
typedef struct mr_restriction_1 {
  uint32_t struct_size, reserved;
  /* Answers with an action as in access(5): "DUNNO", "REJECT 5.7.1 text", "reject_unverified_sender"; an empty one
     is DUNNO.  Attributes are those of the policy protocol.  event->stage is the stage that the list is
     evaluated at.  *action must outlive the return (see on_stage); what takes time must suspend, there is no
     MR_PENDING here.  An error, or no answer in time, is a temporary refusal. [stage] */
  int32_t (*check)(void *self, const mr_event *event, const mr_fact *attributes, uint64_t attribute_count,
                   mr_string *action);
} mr_restriction_1;

/* "mr.table_provider/1", offered by a filter's get_interface, since SDK 0.3: a type of lookup table, called
   as the plugin: with geo.so in plugin_directory every parameter of main.cf that takes a table takes "geo:NAME". */
typedef struct mr_table_provider_1 {
  uint32_t struct_size, reserved;
  /* What stands behind the colon; *table is the plugin's own.  On an error, log why.  [load] */
  mr_rc (*open)(void *self, mr_string name, void **table);
  /* MR_OK after one give(to, value), which copies; MR_E_ABSENT; an error is a temporary one.  It must not wait: look-ups
     are made where nothing may suspend.  [any thread, one at a time] */
  mr_rc (*find)(void *self, void *table, mr_string key, void (*give)(void *to, mr_string value), void *to);
  void (*close)(void *self, void *table); /* may be NULL */
} mr_table_provider_1;

/* "mr.observer/1", offered by a filter's get_interface, since SDK 0.3: told of deliveries, one call for each attempt and
   recipient.  Soon after it, in one of the processes, at most once; some are lost when a process ends. */
enum { MR_DELIVERY_SENT = 0, MR_DELIVERY_DEFERRED = 1, MR_DELIVERY_BOUNCED = 2 };
typedef struct mr_delivery {
  uint32_t struct_size;
  int32_t status; /* MR_DELIVERY_ */
  mr_string queue_id, sender, recipient, original_recipient;
  mr_string relay;       /* "mx.example[192.0.2.1]:25", "none" */
  mr_string status_code; /* "2.0.0" */
  mr_string text;        /* what the next hop said */
  uint64_t delay_us;     /* since the message came */
} mr_delivery;
typedef struct mr_observer_1 {
  uint32_t struct_size, reserved;
  /* [on a stack as a stage's, one at a time; host calls that need a call's handle are not for it] */
  void (*delivered)(void *self, const mr_delivery *delivery);
} mr_observer_1;

/* One instance.  All but on_stage: [load].  Members may be NULL but on_stage and destroy. */
typedef struct mr_filter {
  uint32_t struct_size, reserved;
  void *self;
  /* A JSON object with the keys of the filter's block in main.cf, values as text.  On an error, log why. */
  mr_rc (*configure)(void *self, mr_string json);
  mr_rc (*start)(void *self);
  /* MR_DONE, MR_PENDING or an error.  *verdict comes zeroed with its struct_size; its texts must outlive the
     return: literals or session memory (see complete()). [stage] */
  int32_t (*on_stage)(void *self, const mr_event *event, mr_verdict *verdict);
  /* The call is given up, its handles and texts die when this returns: no thread of the plugin may use them
     any more.  Without it, they live until complete(). [stage] */
  void (*cancel)(void *self, mr_handle call);
  void (*stop)(void *self);
  void (*destroy)(void *self);
  const void *(*get_interface)(void *self, const char *id);
} mr_filter;

typedef struct mr_entry {
  uint32_t struct_size, abi_major, abi_minor, abi_draft;
  uint32_t count; /* of descriptors */
  uint32_t reserved;
  const char *sdk_version; /* of this header: MR_SDK_VERSION */
  const char *build_id;    /* of the plugin, any text */
  const mr_descriptor *(*describe)(uint32_t index); /* no host yet, no side effects */
  mr_filter *(*create)(const mr_host *host, const char *id); /* NULL: failed; host lives until destroy */
} mr_entry;

#define MR_SDK_VERSION "0.3.0"

/* The one exported function.  No side effects: it is also called just to list plugins. */
typedef const mr_entry *(*mr_entry_function)(void);
MR_EXPORT const mr_entry *millrace_plugin_entry_v1(void);

#ifdef __cplusplus
}
#endif

#endif
