#include "core/local/forwarder.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "core/base/clock.h"
#include "core/base/strings.h"
#include "core/local/task_files.h"
#include "core/rewrite/router.h"

namespace millrace::local {
namespace {

constexpr std::uint64_t kInMemory = 64 * 1024;

std::string message_id(const std::string& headers) {
  for (std::string_view rest = headers; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (istarts_with(line, "message-id:")) return std::string(trim(line.substr(11)));
  }
  return {};
}

}  // namespace

Forwarder::Forwarder(const config::Config& config, queue::Store& store, std::shared_ptr<const rewrite::Cleanup> cleanup,
                     std::string spool, Stored stored)
    : config_(config), store_(store), cleanup_(std::move(cleanup)), spool_(std::move(spool)), stored_(std::move(stored)),
      cleanup_log_(config.value("syslog_name").value_or("postfix") + "/cleanup") {}

Result<std::string> Forwarder::forward(const deliver::Attempt& attempt, std::size_t position, const std::string& sender, bool list,
                                       const std::vector<std::string>& recipients, const std::string& delivered) {
  const auto number = store_.reserve_ids(1);
  if (!number) return tl::unexpected(number.error());
  const config::Params& params = config_.params();
  const WallMicros now = wall_now();
  const mime::Recipient& from = attempt.recipient(position);

  queue::Entry made;
  made.envelope = attempt.entry->envelope;
  made.envelope.queue_id = queue::format_queue_id(*number, now, params.enable_long_queue_ids);
  made.envelope.sender = sender;
  made.envelope.verp.clear();   // the sender is the personal one
  made.envelope.content_filter.clear();
  made.envelope.redirect.clear();
  made.envelope.hold = false;
  for (const std::string& address : recipients) {
    mime::Recipient recipient;
    if (!list) recipient = from;
    recipient.address = address;
    if (list) recipient.original = address;
    else if (recipient.original.empty()) recipient.original = from.address;
    made.envelope.recipients.push_back(std::move(recipient));
  }
  if (auto rewritten = cleanup_->envelope(made.envelope, true); !rewritten) return tl::unexpected(rewritten.error());
  for (mime::Recipient& recipient : made.envelope.recipients) {
    queue::RecipientState state;
    state.recipient = std::move(recipient);
    made.recipients.push_back(std::move(state));
  }
  made.envelope.recipients.clear();
  if (made.recipients.empty()) return made.envelope.queue_id;
  made.queued = now;

  std::string head = fmt::format("Received: by {} ({})\r\n\tid {}; {}\r\n", params.myhostname, params.mail_name,
                                 made.envelope.queue_id, rfc5322_date(now));
  if (!delivered.empty()) head += "Delivered-To: " + rewrite::quote_local(delivered) + "\r\n";
  made.envelope.size = head.size() + attempt.content.size;
  const std::string& id = made.envelope.queue_id;
  cleanup_log_.info(id + ": message-id=" + message_id(header_section(attempt.content)));
  if (attempt.content.memory != nullptr && attempt.content.size <= kInMemory) {
    auto content = std::make_shared<const std::string>(head + *attempt.content.memory);
    if (auto added = store_.add(made, *content, -1); !added) return tl::unexpected(added.error());
    std::string out = id;
    stored_(std::move(made), std::move(content));
    return out;
  }
  auto file = write_message(attempt.content, spool_, nullptr);
  if (!file) return tl::unexpected(file.error());
  const int fd = ::fcntl(file->get(), F_DUPFD_CLOEXEC, 3);
  if (auto added = store_.add(made, head, fd); !added) return tl::unexpected(added.error());
  std::string out = id;
  stored_(std::move(made), nullptr);
  return out;
}

}  // namespace millrace::local
