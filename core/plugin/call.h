// One call of a plugin's on_stage, and the session it belongs to: what a handle leads to.
//
// The SMTP session's fiber asks and waits; the plugin runs on a fiber of its own (or a worker thread), and
// may answer from any thread, late, twice or never.  The two meet in `mutex`: everything the plugin sees of
// the session is reached through a Call that is still `alive`, under that lock; the asker takes `alive`
// away before it goes on.  What the plugin was given to read lives in the arena until the call is over for both.
//
// Most calls return at once: for those the session keeps one Call and uses it again under a new handle, so that
// nothing is allocated.  Who found a Call by a handle looks, under the lock, whether it still has that handle.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/filter/chain.h"
#include "core/mime/canonical.h"
#include "core/net/fiber.h"
#include "core/plugin/header_layout.h"
#include "core/plugin/mime_view.h"
#include "core/plugin/verdict.h"

namespace millrace::plugin {

class Instance;
struct Call;
class MimeView;

// The call that runs on this thread now: its plugin may wait.
extern thread_local Call* running_call;

// A plugin's view of one SMTP session.
struct SessionState {
  mr_handle handle = 0;
  void* data = nullptr;          // the plugin's own
  bool touched = false;          // the plugin has been called for it
  bool busy = false;             // on_stage has not returned yet [loop]
  bool closing = false;          // the SMTP session is over [loop]
  std::mutex mutex;
  std::weak_ptr<Call> current;   // under mutex
};

struct Call {
  std::shared_ptr<Instance> instance;
  std::shared_ptr<SessionState> session;
  std::uint32_t stage = 0;
  Deadline deadline;
  mr_event event{};

  std::mutex mutex;
  // Under mutex:
  mr_handle handle = 0;
  // Somebody waits for the answer; context and the rest may be used.  Set without the lock, when all else is; taken away
  // under it.
  std::atomic<bool> alive{false};
  bool answered = false;
  bool is_silent = false;        // answered, and there is nothing in `verdict`
  bool returned_pending = false;
  filter::Verdict verdict;       // when answered
  bool misbehaved = false;       // told once a call
  bool spoiled = false;          // an edit could not be kept whole
  filter::Context* context = nullptr;
  const mime::Message* message = nullptr;
  filter::Journal* journal = nullptr;
  std::optional<HeaderLayout> layout;   // once a header was edited
  mime::Canonicalizer canonicalizer;
  std::uint64_t body_octets = 0;
  std::deque<std::string> arena;
  std::string typed;             // what the event points to; one buffer, used again
  std::deque<std::vector<mr_dns_record>> records;
  std::vector<mr_string> parameters;
  std::vector<std::string> prepend;        // fields for the transaction, before the message is there
  std::vector<std::string> auth_results;   // "spf=pass smtp.mailfrom=a.example"
  std::function<void()> notify;  // wakes the asker, from any thread; not set before it waits
  std::unique_ptr<MimeView> mime;   // once "mr.mime/1" was asked

  // What the plugin's function returned, until it is judged. [loop]
  std::int32_t rc = 0;
  mr_verdict given{};
  mr_string action{nullptr, 0};
  bool asker_judges = false;   // it stands still right behind the plugin's function: no lock is needed in between

  // A restriction's call instead of on_stage; the attributes live in the arena.
  const mr_restriction_1* restriction = nullptr;
  std::vector<mr_fact> attributes;

  int open_ends = 2;             // asker and plugin fiber [loop]
  std::shared_ptr<Call> itself;  // while the plugin's fiber goes on without the asker's [loop]

  // Keeps a copy for the plugin. [mutex]
  mr_string keep(std::string text) {
    arena.push_back(std::move(text));
    return {arena.back().data(), arena.back().size()};
  }
  void answer(filter::Verdict given) {   // [mutex]
    answered = true;
    verdict = std::move(given);
    if (alive && notify) notify();
  }
  // The answer of most: nothing. [mutex]
  void answer_nothing() {
    answered = is_silent = true;
    if (alive && notify) notify();
  }
  // For the next call, with a handle of its own. [mutex]
  void renew(mr_handle fresh);
};

// Did its plugin declare that it reads bodies?  Says so in the log where not. [mutex]
bool may_read_body(Call& call);

// A stretch in which the plugin on this fiber waits: others may run meanwhile, and it does not hold the loop.
class Waiting {
 public:
  Waiting() : mine_(std::exchange(running_call, nullptr)), nobody_("") {}
  ~Waiting() { running_call = mine_; }
  Waiting(const Waiting&) = delete;

 private:
  Call* mine_;
  net::LoopHolder nobody_;
};

}  // namespace millrace::plugin
