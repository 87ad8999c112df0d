// Fills a queue with deferred messages, for backlog.py.
//
//   queue_filler STORE-DIRECTORY MESSAGES [SECONDS]
//     MESSAGES of 1 KB, each to one recipient in one of 1,000 domains, due in SECONDS (an hour).  Nothing is
//     synced: not for a queue that anybody needs.
#include <cstdio>
#include <cstdlib>

#include "core/net/fiber.h"
#include "core/queue/store.h"

using namespace millrace;

namespace {
queue::Entry entry_of(std::uint64_t number, WallMicros now, WallMicros due) {
  queue::Entry entry;
  entry.envelope.queue_id = queue::format_queue_id(number, now, false);
  entry.envelope.sender = "sender@example.org";
  entry.envelope.client_address = "192.0.2.1";
  entry.envelope.client_name = entry.envelope.helo_name = "client.example.org";
  entry.envelope.protocol = "ESMTP";
  entry.envelope.arrival = entry.queued = now;
  entry.queue = queue::QueueName::deferred;
  entry.next_attempt = due;
  entry.attempts = 1;
  queue::RecipientState state;
  state.recipient.address = state.recipient.original =
      "user" + std::to_string(number) + "@d" + std::to_string(number % 1000) + ".backlog.example";
  entry.recipients.push_back(std::move(state));
  return entry;
}
}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: queue_filler STORE-DIRECTORY MESSAGES [SECONDS]\n");
    return 2;
  }
  const std::size_t count = std::strtoul(argv[2], nullptr, 10);
  const WallMicros now = wall_now(), due = now + (argc > 3 ? std::atoll(argv[3]) : 3600) * 1'000'000;
  queue::StoreOptions options;
  options.directory = argv[1];
  options.sync = false;
  auto store = queue::Store::open(options);
  if (!store) {
    std::fprintf(stderr, "queue_filler: %s\n", store.error().context.c_str());
    return 1;
  }
  const auto content = std::make_shared<const std::string>("Subject: backlog\r\n\r\n" + std::string(1000, 'x') + "\r\n");
  bool failed = false;
  net::Loop loop;
  std::size_t next = 0, running = 64;
  for (std::size_t i = running; i > 0; --i) {
    const auto spawned = loop.spawn(net::Stack::session, [&] {
      while (next < count && !failed) {
        const std::size_t block = std::min<std::size_t>(1000, count - next);
        next += block;
        const auto first = (*store)->reserve_ids(block);
        for (std::size_t n = 0; n < block && !failed; ++n) {
          failed = !first || !(*store)->add(entry_of(*first + n, now, due), *content, -1);
        }
      }
      if (--running == 0) loop.stop();
    });
    if (!spawned) std::abort();
  }
  loop.run();
  failed = !(*store)->close() || failed;
  return failed ? 1 : 0;
}
