// The crash ledger at library level: a child stores messages and says which it was told are stored; it is
// killed at a random moment; everything it said must be there, whole.  (That the machine may crash as
// well needs copies of the disk: the end-to-end ledger.)
#include <signal.h>
#include <sys/wait.h>

#include <map>
#include <thread>

#include "core/base/random.h"
#include "queue_support.h"

namespace millrace::queue {
namespace {

std::string content_of(const std::string& id) {
  // One in four is large enough for a side file.
  const std::size_t repeats = id.back() % 4 == 0 ? 6000 : 300;
  std::string out;
  for (std::size_t i = 0; i < repeats; ++i) out += id;
  return out;
}

[[noreturn]] void child(const std::string& directory, int ledger) {
  StoreOptions options;
  options.directory = directory;
  Result<std::unique_ptr<Store>> opened = Store::open(options);
  if (!opened) ::_exit(3);
  Store& store = **opened;
  const Result<std::uint64_t> first = store.reserve_ids(1 << 20);
  if (!first) ::_exit(4);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t n = *first + t;; n += 8) {
        const std::string id = format_queue_id(n, 0, false);
        if (!store.add(make_entry(id, 3), content_of(id), -1)) ::_exit(5);
        const std::string line = "+" + id + "\n";
        if (::write(ledger, line.data(), line.size()) < 0) ::_exit(6);
        if (n % 3 != 0) continue;
        // Removed: said before it is asked for, as it may be there or not from now on.
        const std::string gone = "-" + id + "\n";
        if (::write(ledger, gone.data(), gone.size()) < 0) ::_exit(6);
        Update remove{id};
        remove.remove = true;
        store.apply_later(remove);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ::_exit(0);
}

}  // namespace

TEST_CASE("queue ledger: what was acknowledged survives SIGKILL", "[queue][ledger]") {
  const TemporaryDirectory directory;
  std::map<std::string, bool> ledger;   // id -> must be there
  std::size_t acknowledged = 0;
  for (int round = 0; round < 10; ++round) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const pid_t pid = ::fork();
    if (pid == 0) child(directory.path, ends[1]);
    ::close(ends[1]);
    const TimePoint until = SteadyClock::now() + std::chrono::milliseconds(50 + random_below(300));
    std::thread killer([&] {
      std::this_thread::sleep_until(until);
      ::kill(pid, SIGKILL);
    });
    std::string text;
    char buffer[65536];
    for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
      text.append(buffer, static_cast<std::size_t>(got));
    }
    killer.join();
    ::close(ends[0]);
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFSIGNALED(status));
    for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
      const std::string id = text.substr(at + 1, end - at - 1);
      if (text[at] == '+') {
        ++acknowledged;
        CHECK(ledger.emplace(id, true).second);   // an id given twice would be seen here
      } else {
        ledger[id] = false;
      }
    }
    const TimePoint start = SteadyClock::now();
    auto store = open_store(directory.path);
    CHECK(SteadyClock::now() - start < std::chrono::milliseconds(500));
    std::size_t missing = 0, damaged = 0;
    for (const auto& [id, required] : ledger) {
      if (!required) continue;
      const Result<Entry> entry = store->load(id);
      if (!entry) {
        ++missing;
        continue;
      }
      const Result<Content> content = store->open_content(id);
      if (!content || entry->recipients.size() != 3 || read_all(*content) != content_of(id)) ++damaged;
    }
    CHECK(missing == 0);
    CHECK(damaged == 0);
    // Checked: taken out, so that each round reads its own.
    for (auto& [id, required] : ledger) {
      if (!required) continue;
      Update remove{id};
      remove.remove = true;
      store->apply_later(remove);
      required = false;
    }
    REQUIRE(store->close());
  }
  CHECK(acknowledged > 100);
}

}  // namespace millrace::queue
