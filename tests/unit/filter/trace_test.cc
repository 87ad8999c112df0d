// The trace store: format, look-up, bounds, mode.
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>

#include "core/filter/trace.h"

using namespace millrace;
using namespace millrace::filter;

namespace {

struct TempDirectory {
  TempDirectory() {
    char pattern[] = "/tmp/mr-trace-XXXXXX";
    path = ::mkdtemp(pattern);
  }
  ~TempDirectory() { std::filesystem::remove_all(path); }
  std::string path;
};

TraceLine line(unsigned transaction, std::string queue_id, std::string text) {
  static WallMicros clock = 1000;
  TraceLine out;
  out.when = ++clock;
  out.stage = "mail";
  out.filter = "restrictions";
  out.action = "continue";
  out.text = std::move(text);
  out.transaction = transaction;
  out.queue_id = std::move(queue_id);
  return out;
}

}  // namespace

TEST_CASE("trace: a line is JSON whatever a peer sent", "[filter]") {
  SessionFacts facts;
  facts.client_address = "192.0.2.1";
  facts.helo_name = "a\"b\\\n\x01";
  TraceLine one = line(1, "4abc", "x\",\"queue_id\":\"forged");
  one.when = 5;
  one.facts = {{"dns", "1"}};
  one.edits = {"a", "b"};
  CHECK(format_trace("7.1", facts, one) ==
        R"({"when":5,"session":"7.1","transaction":1,"queue_id":"4abc","client":"unknown[192.0.2.1]",)"
        R"("helo":"a\"b\\\n\u0001","stage":"mail","filter":"restrictions","action":"continue",)"
        R"("text":"x\",\"queue_id\":\"forged","latency_us":0,"facts":{"dns":"1"},"edits":["a","b"]})");
}

TEST_CASE("trace: a queue id finds its transaction and what led to it, and no other", "[filter]") {
  TempDirectory directory;
  auto store = TraceStore::open({directory.path + "/trace", "front-0", 1 << 20});
  REQUIRE(store);
  SessionFacts one, two;
  one.session_number = 1;
  two.session_number = 2;
  (*store)->record(one, line(0, "", "one connect"));
  (*store)->record(one, line(1, "", "one mail 1"));
  (*store)->record(one, line(1, "QA", "one data 1"));
  (*store)->record(one, line(2, "", "one mail 2"));
  (*store)->record(two, line(1, "", "two mail 1"));
  (*store)->record(one, line(2, "QB", "one data 2"));
  (*store)->flush();
  struct stat status {};
  REQUIRE(::stat((directory.path + "/trace/front-0.jsonl").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  const auto found = find_trace(directory.path + "/trace", "QB");
  REQUIRE(found);
  REQUIRE(found->size() == 3);
  CHECK((*found)[0].find("one connect") != std::string::npos);
  CHECK((*found)[1].find("one mail 2") != std::string::npos);
  CHECK((*found)[2].find("one data 2") != std::string::npos);
  CHECK(find_trace(directory.path + "/trace", std::to_string(::getpid()) + ".2")->size() == 1);
  CHECK(find_trace(directory.path + "/trace", "QC")->empty());
  CHECK_FALSE(find_trace(directory.path + "/nowhere", "QC"));
}

TEST_CASE("trace: the store stays within its limit and keeps the newest", "[filter]") {
  TempDirectory directory;
  constexpr std::uint64_t kLimit = 64 * 1024;
  {
    auto store = TraceStore::open({directory.path, "front-0", kLimit});
    REQUIRE(store);
    const SessionFacts facts;
    for (int i = 0; i < 3000; ++i) (*store)->record(facts, line(1, "Q" + std::to_string(i), "some text"));
  }
  std::uint64_t total = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory.path)) total += entry.file_size();
  CHECK(total <= kLimit + kLimit / 8);
  CHECK(find_trace(directory.path, "Q2999")->size() == 1);
  CHECK(find_trace(directory.path, "Q0")->empty());
}
