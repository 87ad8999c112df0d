// Requests of the policy protocol (SMTPD_POLICY_README), as a server reads them: name=value lines and an empty one.
// Pure and bounded.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::policyd {

using Attributes = std::vector<std::pair<std::string, std::string>>;

class RequestReader {
 public:
  static constexpr std::size_t kMaxLine = 16 * 1024, kMaxRequest = 64 * 1024, kMaxAttributes = 200;

  enum class Status { need_more, complete, malformed };
  // One line without its end.  After `complete` or `malformed`: take() or give up.
  Status line(std::string_view text);
  // Of `malformed`, for the log.
  const std::string& why() const { return why_; }
  Attributes take();
  bool is_empty() const { return attributes_.empty(); }

 private:
  Status wrong(std::string why) { return why_ = std::move(why), Status::malformed; }
  Attributes attributes_;
  std::size_t octets_ = 0;
  std::string why_;
};

// The first value of that name; "" when there is none.
std::string_view find(const Attributes& attributes, std::string_view name);

}  // namespace millrace::policyd
