// The transcript of a session for the postmaster: what was said, without message content, and which classes of trouble
// there were (notify_classes; smtpd(8)).  Pure.
//
// Promise: bounded whatever the client says; a session in which nothing went wrong after its last accepted message
// gives none.
#pragma once

#include <string>
#include <string_view>

#include "core/smtp/reply.h"

namespace millrace::smtp {

// Bits of notify_classes that a session can raise.
enum NotifyClass : unsigned {
  kNotifyBounce = 1,     // content refused; goes to bounce_notice_recipient
  kNotifyData = 2,
  kNotifyPolicy = 4,
  kNotifyProtocol = 8,
  kNotifyResource = 16,
  kNotifySoftware = 32,
};
// The bits in a value of notify_classes; other words (2bounce, delay) are for the queue.
unsigned notify_classes(std::string_view value);
// What a refusal is: `by_policy` when restrictions or filters gave it.
unsigned trouble_of(const Reply& reply, bool by_policy);

class Transcript {
 public:
  explicit Transcript(std::size_t threshold = 100) : threshold_(threshold) {}

  void in(std::string_view line) { add(" In:  ", line); }
  void out(const Reply& reply);
  void trouble(unsigned classes) { classes_ |= classes; }
  // A message was accepted: what went wrong before is forgotten.
  void forgive() { classes_ = 0; }
  // At EHLO, RSET and end of data: starts anew when it has grown long (smtpd_history_flush_threshold).
  void checkpoint();

  unsigned classes() const { return classes_; }
  // The body of the notice, CRLF lines; `reason` is why the session was aborted, "" when it was not.
  std::string text(std::string_view reason) const;

 private:
  static constexpr std::size_t kMaxBytes = 64 * 1024;
  void add(std::string_view who, std::string_view line);
  std::string lines_;
  std::size_t count_ = 0, threshold_;
  unsigned classes_ = 0;
};

}  // namespace millrace::smtp
