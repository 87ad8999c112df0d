/* A filter that is asked at every stage and says nothing. */
#include <stdlib.h>

#include <millrace/plugin.h>

static int32_t on_stage(void *self, const mr_event *event, mr_verdict *verdict) {
  (void)self;
  (void)event;
  (void)verdict;
  return MR_DONE;
}
static void destroy(void *self) { free(self); }

static const mr_descriptor descriptor = {sizeof(mr_descriptor), (MR_STAGE_UNKNOWN << 1) - 1, 0, MR_BODY_NONE, MR_THREADS_FREE,
                                         MR_TRAIT_DETERMINISTIC, 0, MR_STATUS_STABLE, MR_POSTURE_ROBUST, 0, "noop", "1", "nothing",
                                         NULL, NULL, NULL, NULL};
static const mr_descriptor *describe(uint32_t index) { return index == 0 ? &descriptor : NULL; }
static mr_filter *create(const mr_host *host, const char *id) {
  mr_filter *filter = calloc(1, sizeof *filter);
  (void)host;
  (void)id;
  if (filter == NULL) return NULL;
  filter->struct_size = sizeof *filter;
  filter->self = filter;
  filter->on_stage = on_stage;
  filter->destroy = destroy;
  return filter;
}
static const mr_entry entry = {sizeof(mr_entry), MR_ABI_MAJOR, MR_ABI_MINOR, MR_ABI_DRAFT, 1, 0, MR_SDK_VERSION, "bench", describe, create};
MR_EXPORT const mr_entry *millrace_plugin_entry_v1(void) { return &entry; }
