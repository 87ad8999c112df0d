/* A plugin that does one bad thing, named by its setting: what the conformance kit has to find. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <millrace/plugin.h>

struct bad {
  mr_filter filter;
  const mr_host *host;
  const mr_msg_1 *msg;
  char what[32];
};

static mr_string text(const char *words) {
  mr_string out = {words, strlen(words)};
  return out;
}
static int is(const struct bad *me, const char *what) { return strcmp(me->what, what) == 0; }

static mr_rc configure(void *self, mr_string json) {
  struct bad *me = self;
  const char *const start = "{\"bad\":\"";
  if (json.size > strlen(start) && memcmp(json.data, start, strlen(start)) == 0) {
    size_t n = 0;
    const char *word = json.data + strlen(start);
    while (n < sizeof me->what - 1 && strlen(start) + n < json.size && word[n] != '"') ++n;
    memcpy(me->what, word, n);
    me->what[n] = '\0';
  }
  return MR_OK;
}

static int32_t on_stage(void *self, const mr_event *event, mr_verdict *verdict) {
  struct bad *me = self;
  if (event->stage == MR_STAGE_CLOSE) return MR_DONE;
  if (is(me, "edit")) me->msg->header_add(me->host->ctx, event->message, text("X"), text("y"));
  if (is(me, "verdict")) {
    verdict->action = MR_REJECT;
    verdict->text = text("no\r\n250 yes");
  }
  if (is(me, "code")) {
    verdict->action = MR_REJECT;
    verdict->smtp_code = 250;
  }
  if (is(me, "body")) {
    char octet;
    uint64_t got;
    me->msg->body_read(me->host->ctx, event->message, 0, &octet, 1, &got);
  }
  if (is(me, "weird")) return 42;
  if (is(me, "twice")) {
    me->host->complete(me->host->ctx, event->call, verdict);
    me->host->complete(me->host->ctx, event->call, verdict);
    return MR_PENDING;
  }
  if (is(me, "both")) me->host->complete(me->host->ctx, event->call, verdict);
  if (is(me, "silent")) return MR_PENDING;
  if (is(me, "crash") && event->argument.size > 100000) *(volatile int *)8 = 1;
  if (is(me, "exit") && event->stage == MR_STAGE_DATA) _Exit(0);
  if (is(me, "leak")) memset(malloc(4096), 1, 4096);
  if (is(me, "trusting")) {
    mr_string sender;
    me->msg->sender(me->host->ctx, event->message, &sender); /* without a look at the table */
  }
  return MR_DONE;
}

static void destroy(void *self) {
  struct bad *me = self;
  if (is(me, "files")) (void)open("/dev/null", O_RDONLY);
  free(me);
}

static const mr_descriptor descriptor = {sizeof(mr_descriptor), MR_STAGE_MAIL | MR_STAGE_DATA | MR_STAGE_MESSAGE | MR_STAGE_CLOSE, 0,
                                         MR_BODY_NONE, MR_THREADS_FREE, 0, 0, MR_STATUS_WIP, MR_POSTURE_TRUSTED_ONLY, 0, "bad", "1",
                                         "does one bad thing", NULL, "{\"bad\": {\"type\": \"string\"}}", NULL, NULL};
static const mr_descriptor *describe(uint32_t index) { return index == 0 ? &descriptor : NULL; }
static mr_filter *create(const mr_host *host, const char *id) {
  struct bad *me = calloc(1, sizeof *me);
  (void)id;
  me->host = host;
  me->msg = host->get_interface(host->ctx, "mr.msg/1");
  me->filter.struct_size = sizeof me->filter;
  me->filter.self = me;
  me->filter.configure = configure;
  me->filter.on_stage = on_stage;
  me->filter.destroy = destroy;
  return &me->filter;
}
static const mr_entry entry = {sizeof(mr_entry), MR_ABI_MAJOR, MR_ABI_MINOR, MR_ABI_DRAFT, 1, 0, MR_SDK_VERSION, "bad", describe, create};
MR_EXPORT const mr_entry *millrace_plugin_entry_v1(void) { return &entry; }
