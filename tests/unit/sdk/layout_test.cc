// The layout of the plugin ABI.  A change here breaks every plugin there is: raise MR_ABI_DRAFT with it.
#include <catch2/catch.hpp>

#include "millrace/plugin.h"

TEST_CASE("plugin ABI: sizes and offsets stay as they are", "[sdk]") {
  CHECK(MR_ABI_DRAFT == 1);
  CHECK(sizeof(mr_string) == 16);
  CHECK(sizeof(mr_verdict) == 88);
  CHECK(offsetof(mr_verdict, enhanced) == 16);
  CHECK(offsetof(mr_verdict, score) == 64);
  CHECK(sizeof(mr_event) == 96);
  CHECK(offsetof(mr_event, deadline_ns) == 32);
  CHECK(offsetof(mr_event, parameter_count) == 88);
  CHECK(sizeof(mr_host) == 56);
  CHECK(sizeof(mr_descriptor) == 96);
  CHECK(offsetof(mr_descriptor, config_schema) == 72);
  CHECK(offsetof(mr_descriptor, after) == 88);
  CHECK(offsetof(mr_descriptor, id) == 40);
  CHECK(sizeof(mr_filter) == 72);
  CHECK(sizeof(mr_entry) == 56);
  CHECK(sizeof(mr_session_1) == 16);
  CHECK(sizeof(mr_dns_1) == 24);
  CHECK(sizeof(mr_dns_record) == 24);
  CHECK(sizeof(mr_dns_answer) == 32);
  CHECK(sizeof(mr_msg_1) == 8 + 19 * 8);
  CHECK(sizeof(mr_timer_1) == 8 + 3 * 8);
  CHECK(offsetof(mr_kv_1, expire) == 8 + 4 * 8);   // draft 1 ended here: tables grow at their end
  CHECK(sizeof(mr_kv_1) == 8 + 5 * 8);
  CHECK(sizeof(mr_metrics_1) == 8 + 2 * 8);
  CHECK(sizeof(mr_auth_results_1) == 8 + 2 * 8);
  CHECK(sizeof(mr_table_1) == 8 + 2 * 8);
  CHECK(sizeof(mr_worker_1) == 8 + 8);
  CHECK(sizeof(mr_private_files_1) == 8 + 8);
  CHECK(sizeof(mr_restriction_1) == 8 + 8);
}

TEST_CASE("plugin ABI: MR_HAS looks at the size that the other side wrote", "[sdk]") {
  mr_entry entry{};
  entry.struct_size = offsetof(mr_entry, describe);
  CHECK(MR_HAS(mr_entry, &entry, build_id));
  CHECK_FALSE(MR_HAS(mr_entry, &entry, describe));
}
