// How fast the store takes and gives up messages, and whether a large backlog makes it slower.
//
//   store_bench DIRECTORY [messages] [in-flight]
//     adds, then removals, of 5 KB messages with a number of fibers in flight
//   store_bench DIRECTORY backlog|backlog-small [messages]
//     fresh: fills and drains `messages` (200,000) mixed mails; then does it again in the same, reused
//     file.  That must not cost twice as much.  backlog-small leaves side files out: the database alone.
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "core/base/random.h"
#include "core/net/fiber.h"
#include "core/queue/store.h"

namespace {

using namespace millrace;

double cpu_micros() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

queue::Entry entry_of(std::uint64_t number) {
  queue::Entry entry;
  entry.envelope.queue_id = queue::format_queue_id(number, 0, false);
  entry.envelope.sender = "sender@example.org";
  entry.envelope.client_address = "192.0.2.1";
  entry.envelope.client_name = "client.example.org";
  entry.envelope.helo_name = "client.example.org";
  entry.envelope.protocol = "ESMTP";
  entry.envelope.arrival = wall_now();
  mime::Recipient recipient;
  recipient.address = recipient.original = "recipient@example.net";
  entry.recipients.push_back({recipient});
  return entry;
}

// Sizes as a real stream has them: most small, some with attachments.
std::size_t mixed_size() {
  const std::uint64_t dice = random_below(100);
  if (dice < 30) return 1000 + random_below(3000);
  if (dice < 80) return 4000 + random_below(8000);
  if (dice < 95) return 12000 + random_below(30000);
  return 50000 + random_below(150000);
}

struct Phase {
  Phase(queue::Store& the_store, const char* the_name) : store(the_store), name(the_name) {}
  ~Phase() {
    const double seconds = std::chrono::duration<double>(SteadyClock::now() - start).count();
    const double each = static_cast<double>(count);
    std::printf("%-16s %8zu messages %9.0f/s  %6.1f us  cpu %6.1f us  %6.3f syncs/message  longest wait %7.2f ms\n",
                name, count, each / seconds, seconds * 1e6 / each, (cpu_micros() - cpu) / each,
                static_cast<double>(store.syncs() - syncs) / each, longest_ms);
  }
  queue::Store& store;
  const char* name;
  std::size_t count = 0;
  double longest_ms = 0;
  TimePoint start = SteadyClock::now();
  double cpu = cpu_micros();
  std::uint64_t syncs = store.syncs();
};

// Runs `step` (number -> did it work) for 1..count on `fibers` fibers; the longest step is noted.
template <typename Step>
void run(Phase& phase, std::size_t count, std::size_t fibers, const Step& step) {
  net::Loop loop;
  std::size_t next = 0, running = fibers;
  phase.count = count;
  for (std::size_t i = 0; i < fibers; ++i) {
    const auto spawned = loop.spawn(net::Stack::session, [&] {
      while (next < count) {
        const std::size_t number = next++;
        const TimePoint start = SteadyClock::now();
        step(number);
        const double ms = std::chrono::duration<double, std::milli>(SteadyClock::now() - start).count();
        if (ms > phase.longest_ms) phase.longest_ms = ms;
      }
      if (--running == 0) loop.stop();
    });
    if (!spawned) std::abort();
  }
  loop.run();
}

void require(const Result<void>& result) {
  if (result) return;
  std::fprintf(stderr, "store_bench: %s\n", result.error().context.c_str());
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: store_bench DIRECTORY [messages [in-flight] | backlog[-small] [messages]]\n");
    return 2;
  }
  const std::string directory = std::string(argv[1]) + "/store_bench." + random_token(8);
  std::filesystem::create_directories(directory);
  queue::StoreOptions options;
  options.directory = directory;
  auto opened = queue::Store::open(options);
  if (!opened) require(tl::unexpected(opened.error()));
  queue::Store& store = **opened;
  const bool small = argc > 2 && std::strcmp(argv[2], "backlog-small") == 0;
  const bool backlog = small || (argc > 2 && std::strcmp(argv[2], "backlog") == 0);
  const auto next_size = [small] { return small ? std::min<std::size_t>(mixed_size(), 15000) : mixed_size(); };
  const std::size_t count = argc > 2 + backlog ? std::strtoul(argv[2 + backlog], nullptr, 10) : backlog ? 200000 : 100000;
  const std::size_t fibers = !backlog && argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 200;
  std::string large(300000, 'x');
  for (std::size_t i = 78; i < large.size(); i += 80) large[i] = '\r', large[i + 1 < large.size() ? i + 1 : i] = '\n';
  std::uint64_t first = 1;
  for (int round = 0; round < (backlog ? 3 : 1); ++round) {
    {
      Phase phase(store, round == 0 ? "fill" : "fill, reused");
      run(phase, count, fibers, [&](std::size_t number) {
        const std::size_t size = backlog ? next_size() : 5000;
        require(store.add(entry_of(first + number), large.substr(0, size), -1));
      });
    }
    {
      Phase phase(store, round == 0 ? "drain" : "drain, reused");
      run(phase, count, fibers, [&](std::size_t number) {
        queue::Update update;
        // Not quite in the order of arrival, as deliveries are.
        update.queue_id = queue::format_queue_id(first + (number ^ 7) % count, 0, false);
        update.remove = true;
        const auto removed = store.apply(update);
        if (!removed && removed.error().code != Errc::not_found) require(removed);
      });
    }
    first += count;
  }
  if (backlog) {
    // Steady state on top of a backlog: one comes, one goes.
    Phase phase(store, "in and out");
    run(phase, count, fibers, [&](std::size_t number) {
      require(store.add(entry_of(first + number), large.substr(0, next_size()), -1));
      queue::Update update;
      update.queue_id = queue::format_queue_id(first + number, 0, false);
      update.remove = true;
      store.apply_later(std::move(update));
    });
  }
  require(store.close());
  std::printf("queue.mdb: %.1f MB\n",
              static_cast<double>(std::filesystem::file_size(directory + "/queue.mdb")) / 1e6);
  opened->reset();
  std::filesystem::remove_all(directory);
}
