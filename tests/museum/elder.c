/* A filter as it was written against the first draft of the plugin ABI.  elder.so is built from it once and
 * kept: it must load and work for as long as the draft number stands.  Never rebuild it; see README.md. */
#include <stdlib.h>
#include <string.h>

#include "millrace/plugin.h"

struct elder {
  struct mr_filter filter;
  const mr_host *host;
};

static mr_string text(const char *words) {
  mr_string out = {words, strlen(words)};
  return out;
}

static int32_t on_stage(void *self, const mr_event *event, mr_verdict *verdict) {
  struct elder *me = self;
  if (event->stage == MR_STAGE_RCPT && event->argument.size == 16 && memcmp(event->argument.data, "<elder@refuse.x>", 16) == 0) {
    verdict->action = MR_REJECT;
    verdict->text = text("refused by the elder");
  }
  if (event->stage == MR_STAGE_MESSAGE) {
    const mr_msg_1 *msg = me->host->get_interface(me->host->ctx, "mr.msg/1");
    if (msg == NULL || msg->header_add(me->host->ctx, event->message, text("X-Elder"), text("was here")) != MR_OK) return MR_E_FAILED;
  }
  return MR_DONE;
}

static void destroy(void *self) { free(self); }

static const mr_descriptor descriptor = {sizeof(mr_descriptor), MR_STAGE_RCPT | MR_STAGE_MESSAGE, MR_EDIT_HEADERS, MR_BODY_NONE,
                                         MR_THREADS_FREE, MR_TRAIT_DETERMINISTIC, 0, MR_STATUS_STABLE, MR_POSTURE_ROBUST, 0,
                                         "elder", "1", "built against the first draft", NULL, NULL};

static const mr_descriptor *describe(uint32_t index) { return index == 0 ? &descriptor : NULL; }

static mr_filter *create(const mr_host *host, const char *id) {
  struct elder *me = calloc(1, sizeof *me);
  (void)id;
  if (me == NULL) return NULL;
  me->host = host;
  me->filter.struct_size = sizeof me->filter;
  me->filter.self = me;
  me->filter.on_stage = on_stage;
  me->filter.destroy = destroy;
  return &me->filter;
}

static const mr_entry entry = {sizeof(mr_entry), MR_ABI_MAJOR, MR_ABI_MINOR, MR_ABI_DRAFT, 1, 0, MR_SDK_VERSION, "museum", describe, create};

const mr_entry *millrace_plugin_entry_v1(void) { return &entry; }
