/* A filter as it was written against SDK 0.2: descriptors with `before` and `after`, state, timers, Authentication-Results.
 * second.so is built from it once and kept.  Never rebuild it; see README.md. */
#include <stdlib.h>
#include <string.h>

#include "millrace/plugin.h"

struct second {
  mr_filter filter;
  const mr_host *host;
  const mr_msg_1 *msg;
  const mr_kv_1 *kv;
  const mr_auth_results_1 *results;
  const mr_timer_1 *timer;
  int ticks;
};

static mr_string text(const char *words) {
  mr_string out = {words, strlen(words)};
  return out;
}

static int32_t on_stage(void *self, const mr_event *event, mr_verdict *verdict) {
  struct second *me = self;
  void *const ctx = me->host->ctx;
  int64_t sum = 0;
  mr_string value;
  char count[2] = "0";
  (void)verdict;
  if (event->stage != MR_STAGE_MESSAGE) return MR_DONE;
  if (MR_HAS(mr_timer_1, me->timer, sleep_until)) me->timer->sleep_until(ctx, event->call, me->host->now_ns(ctx) + 1000000);
  if (me->kv->add(ctx, text("n"), 1, 0, &sum) != MR_OK || me->kv->get(ctx, event->call, text("n"), &value) != MR_OK) return MR_E_FAILED;
  count[0] = value.data[0];
  me->results->add(ctx, event->message, text("second"), text("pass"), text(""), NULL, 0);
  return me->msg->header_add(ctx, event->message, text("X-Second"), text(count)) == MR_OK ? MR_DONE : MR_E_FAILED;
}

static void tick(void *argument) { ++((struct second *)argument)->ticks; }
static mr_rc start(void *self) {
  struct second *me = self;
  mr_handle timer;
  if (MR_HAS(mr_timer_1, me->timer, start)) me->timer->start(me->host->ctx, 1000000, 1000000, tick, me, &timer);
  return MR_OK;
}
static void destroy(void *self) { free(self); }

static const char *const before[] = {"elder", NULL};
static const char *const needs[] = {"mr.msg/1", "mr.kv/1", "mr.auth_results/1", NULL};
static const mr_descriptor descriptor = {sizeof(mr_descriptor), MR_STAGE_MESSAGE, MR_EDIT_HEADERS, MR_BODY_NONE, MR_THREADS_FREE, 0, 0,
                                         MR_STATUS_STABLE, MR_POSTURE_ROBUST, 0, "second", "1", "built against SDK 0.2", needs, NULL,
                                         before, NULL};
static const mr_descriptor *describe(uint32_t index) { return index == 0 ? &descriptor : NULL; }

static mr_filter *create(const mr_host *host, const char *id) {
  struct second *me = calloc(1, sizeof *me);
  (void)id;
  if (me == NULL) return NULL;
  me->host = host;
  me->msg = host->get_interface(host->ctx, "mr.msg/1");
  me->kv = host->get_interface(host->ctx, "mr.kv/1");
  me->results = host->get_interface(host->ctx, "mr.auth_results/1");
  me->timer = host->get_interface(host->ctx, "mr.timer/1");
  me->filter.struct_size = sizeof me->filter;
  me->filter.self = me;
  me->filter.start = start;
  me->filter.on_stage = on_stage;
  me->filter.destroy = destroy;
  return &me->filter;
}

static const mr_entry entry = {sizeof(mr_entry), MR_ABI_MAJOR, MR_ABI_MINOR, MR_ABI_DRAFT, 1, 0, MR_SDK_VERSION, "museum", describe, create};
const mr_entry *millrace_plugin_entry_v1(void) { return &entry; }
