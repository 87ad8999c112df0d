#include "core/submit/pickup.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/base/strings.h"
#include "core/config/overrides.h"
#include "core/config/services.h"
#include "core/mime/verp.h"
#include "core/queue/codec.h"
#include "core/smtp/command.h"

namespace millrace::submit {
namespace {

using std::chrono::seconds;

constexpr seconds kUsualWakeup{60};
constexpr std::size_t kPiece = 64 * 1024;
constexpr std::int64_t kForgotten = 7 * 86400;   // s: an incomplete file as old as this was left by a crash
constexpr std::size_t kMaxNames = 100000;        // of one pass; the next pass has the rest
constexpr mode_t kReadyBit = S_IXUSR;

// Closed and, with its lock, given up at the end.
class Handle {
 public:
  explicit Handle(int fd) : fd_(fd) {}
  ~Handle() {
    if (fd_ >= 0) ::close(fd_);
  }
  Handle(const Handle&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

std::vector<std::string> names_in(int directory) {
  std::vector<std::string> out;
  const int fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* stream = fd < 0 ? nullptr : ::fdopendir(fd);
  if (stream == nullptr) {
    if (fd >= 0) ::close(fd);
    return out;
  }
  while (const dirent* entry = ::readdir(stream)) {
    if (entry->d_name[0] == '.' || out.size() >= kMaxNames) continue;
    out.emplace_back(entry->d_name);
  }
  ::closedir(stream);
  std::sort(out.begin(), out.end());   // ours begin with the time
  return out;
}

// "My Name" in front of <address>: as it is when it is made of atoms, else quoted (RFC 5322 section 3.2.4).
std::string phrase(std::string_view name) {
  const auto plain = [](char c) {
    return is_alnum(c) || static_cast<unsigned char>(c) > 127 || std::string_view(" !#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
  };
  if (std::all_of(name.begin(), name.end(), plain)) return std::string(name);
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace

std::string maildrop_directory(const std::string& queue_directory) { return queue_directory + "/maildrop"; }
std::string pickup_socket_path(const std::string& queue_directory) { return queue_directory + "/public/pickup"; }

struct Pickup::File {
  std::string name;
  int fd;
  struct stat status;
};

Pickup::Pickup(const PickupParts& parts) : parts_(parts) {}

std::unique_ptr<Pickup> Pickup::make(const PickupParts& parts, config::Findings& findings) {
  std::unique_ptr<Pickup> pickup(new Pickup(parts));
  const config::Config& config = *parts.config;
  pickup->params_ = config.params_for(*parts.service, &findings);
  const config::Params& params = *pickup->params_;
  pickup->log_ = log::Logger(params.syslog_name + "/pickup");
  const std::shared_ptr<const config::Params> cleanup = config::cleanup_params(config, parts.service);
  pickup->cleanup_log_ = log::Logger(cleanup->syslog_name + "/cleanup");
  auto rewriting = rewrite::Cleanup::make(*cleanup, parts.router, *parts.tables);
  if (!rewriting) {
    findings.error(config.where("canonical_maps"), "canonical_maps", rewriting.error().context);
    return nullptr;
  }
  pickup->rewriting_ = std::move(*rewriting);
  auto users = UserList::make(*parts.tables, config.value("authorized_submit_users").value_or(""));
  if (!users) {
    findings.error(config.where("authorized_submit_users"), "authorized_submit_users", users.error().context);
    return nullptr;
  }
  pickup->submit_users_ = std::move(*users);
  pickup->header_policy_.drop = mime::parse_header_names(cleanup->message_drop_headers);
  pickup->header_policy_.add_missing = true;
  pickup->header_policy_.long_queue_ids = params.enable_long_queue_ids;
  pickup->header_policy_.host = params.myhostname;
  pickup->header_policy_.undisclosed_recipients = cleanup->undisclosed_recipients_header;
  pickup->builder_limits_.line_length = static_cast<std::size_t>(params.line_length_limit);
  pickup->builder_limits_.header_size = static_cast<std::size_t>(cleanup->header_size_limit);
  pickup->strip_characters_ = mime::CharacterSet(params.message_strip_characters).without("\r\n");
  pickup->reject_characters_ = mime::CharacterSet(params.message_reject_characters).without("\r\n");
  const auto overrides = config::parse_receive_overrides(params.receive_override_options);
  if (!overrides) {
    findings.error(parts.service->where, "receive_override_options", overrides.error().context);
    return nullptr;
  }
  pickup->address_mappings_ = !overrides->no_mappings;
  for (const std::string_view word : split(params.smtputf8_autodetect_classes, ", \t\r\n")) {
    if (iequals(word, "sendmail") || iequals(word, "all")) pickup->detect_smtputf8_ = params.smtputf8_enable;
  }
  return pickup;
}

void Pickup::run() {
  running_ = true;
  const seconds wakeup = parts_.service->wakeup_s > 0 ? seconds(parts_.service->wakeup_s) : kUsualWakeup;
  while (!stopping_) {
    woken_.reset();
    scan();
    if (stopping_) break;
    const auto waited = woken_.wait(Deadline::after(wakeup));
    if (!waited && waited.error().code != Errc::timeout) break;
  }
  running_ = false;
}

void Pickup::scan() {
  const std::string path = maildrop_directory(params_->queue_directory);
  const int fd = ::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) {
    log_.warning(fmt::format("{}: {}", path, std::strerror(errno)));
    return;
  }
  const Handle directory(fd);
  const std::vector<std::string> names = net::offload([fd] { return names_in(fd); });
  for (const std::string& name : names) {
    if (stopping_) return;
    if (take(fd, name) != Outcome::keep && ::unlinkat(fd, name.c_str(), 0) != 0 && errno != ENOENT) {
      log_.warning(fmt::format("remove maildrop/{}: {}", name, std::strerror(errno)));
    }
  }
}

// gone: never a message; the file is to be removed.  keep: not now.
Pickup::Outcome Pickup::take(int directory, const std::string& name) {
  const auto suspicious = [&](const char* what) {
    log_.warning(fmt::format("maildrop/{}: {}: removed", name, what));
    return Outcome::gone;
  };
  File file{name, ::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), {}};
  if (file.fd < 0) {
    if (errno == ENOENT) return Outcome::keep;
    if (errno == ELOOP) return suspicious("symbolic link");
    if (errno == ENXIO) return suspicious("not a regular file");
    // Incomplete files are readable by their owner alone.
    struct stat status {};
    const bool old = ::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                     status.st_mtime < wall_now() / 1000000 - kForgotten;
    if (old && S_ISREG(status.st_mode)) return suspicious("left incomplete a week ago");
    return Outcome::keep;
  }
  const Handle handle(file.fd);
  if (::fstat(file.fd, &file.status) != 0) return Outcome::keep;
  if (!S_ISREG(file.status.st_mode)) return S_ISDIR(file.status.st_mode) ? Outcome::keep : suspicious("not a regular file");
  if ((file.status.st_mode & kReadyBit) == 0) {
    return file.status.st_mtime < wall_now() / 1000000 - kForgotten ? suspicious("left incomplete a week ago") : Outcome::keep;
  }
  // The pickup of the configuration before may be at it; what it took has no name any more.
  if (::flock(file.fd, LOCK_EX | LOCK_NB) != 0 || ::fstat(file.fd, &file.status) != 0 || file.status.st_nlink == 0) {
    return Outcome::keep;
  }
  if (file.status.st_nlink > 1) return suspicious("file has several names");

  const Result<std::string> outsider = submit_users_.outsider(file.status.st_uid);
  if (!outsider) {
    log_.warning("authorized_submit_users: " + outsider.error().context);
    return Outcome::keep;
  }
  if (!outsider->empty()) {
    log_.warning(fmt::format("maildrop/{}: User {} is not allowed to submit mail: removed", name, *outsider));
    return Outcome::gone;
  }
  mime::MessageBuilder builder(builder_limits_, mime::Body(parts_.sink->spool_directory()));
  std::uint64_t size = 0;
  const auto limit = static_cast<std::uint64_t>(params_->message_size_limit);
  MaildropParser parser(queue::kMaxRecipients, [&](std::string_view content) -> Result<void> {
    size += content.size();
    // Line ends have grown by an octet, so postdrop's limit is exceeded by honest files; twice is none.
    if (limit != 0 && size > 2 * limit) return fail(Errc::too_large, "message file too big");
    if (reject_characters_.in(content)) return fail(Errc::protocol, "message content rejected");
    if (strip_characters_.empty()) return builder.add(content);
    std::string stripped(content);
    strip_characters_.strip(stripped);
    return builder.add(stripped);
  });
  Result<void> done = read(file, parser);
  if (done) done = parser.finish();
  if (done) done = builder.finish();
  if (!done && (done.error().code == Errc::protocol || done.error().code == Errc::too_large)) {
    log_.warning(fmt::format("maildrop/{}: uid={}: {}: removed", name, file.status.st_uid, done.error().context));
    return Outcome::gone;
  }
  if (!done) {
    log_.warning(fmt::format("maildrop/{}: {}", name, done.error().context));
    return Outcome::keep;
  }
  if (parser.submission().recipients.empty()) return suspicious("no recipients");
  return accept(file, parser.submission(), builder.take());
}

Result<void> Pickup::read(const File& file, MaildropParser& parser) const {
  std::string piece(kPiece, '\0');
  for (;;) {
    const ssize_t n = net::offload([&] { return ::read(file.fd, piece.data(), piece.size()); });
    if (n < 0) return fail(Errc::io, std::string("read: ") + std::strerror(errno));
    if (n == 0) return {};
    if (auto added = parser.add(std::string_view(piece).substr(0, static_cast<std::size_t>(n))); !added) return added;
  }
}

mime::Header Pickup::received(const File& file, const mime::Envelope& envelope) const {
  mime::Header header = mime::Header::make(
      "Received", fmt::format("by {} ({}, from userid {})\n\tid {}; {}", params_->myhostname, params_->mail_name,
                              file.status.st_uid, envelope.queue_id, rfc5322_date(envelope.arrival)));
  header.own_received = true;
  return header;
}

// What a missing From field says (header_from_format = standard).
Result<std::string> Pickup::from_field(const Submission& submission, const std::string& sender) const {
  auto mapped = rewriting_->sender(sender, address_mappings_);
  if (!mapped) return mapped;
  const std::string address = rewrite::quote_local(*mapped);
  if (address.empty() || submission.full_name.empty()) return address;
  return fmt::format("{} <{}>", phrase(submission.full_name), address);
}

Pickup::Outcome Pickup::accept(const File& file, const Submission& submission, mime::Message message) {
  const WallMicros now = wall_now();
  mime::Envelope envelope;
  const Result<std::string> id = parts_.sink->new_queue_id();
  if (!id) {
    log_.warning(fmt::format("maildrop/{}: no queue id: {}", file.name, id.error().context));
    return Outcome::keep;
  }
  envelope.queue_id = *id;
  envelope.sender = submission.sender;
  envelope.envid = submission.envid;
  envelope.ret = submission.ret;
  envelope.body = submission.body;
  envelope.trace = submission.trace;
  if (!submission.verp.empty()) {
    if (submission.sender.empty()) {
      log_.warning(envelope.queue_id + ": ignoring VERP request for null sender");
    } else if (!mime::verp_problem(submission.verp, params_->verp_delimiter_filter).empty()) {
      log_.warning(fmt::format("{}: ignoring bad VERP request: \"{}\"", envelope.queue_id, printable(submission.verp)));
    } else {
      envelope.verp = submission.verp;
    }
  }
  envelope.content_filter = params_->content_filter;
  const WallMicros dropped = file.status.st_mtim.tv_sec * 1000000LL + file.status.st_mtim.tv_nsec / 1000;
  envelope.arrival = std::clamp<WallMicros>(dropped, 0, now);
  log_.info(fmt::format("{}: uid={} from=<{}>", envelope.queue_id, file.status.st_uid, printable(submission.sender)));
  envelope.sender = parts_.router->rewrite(submission.sender);
  const auto unusable = [&](const Error& error) {
    cleanup_log_.warning(fmt::format("{}: {} -- message kept in maildrop, tried again later", envelope.queue_id, error.context));
    return Outcome::keep;
  };
  for (const mime::Recipient& given : submission.recipients) {
    mime::Recipient recipient = given;
    recipient.original = recipient.address.empty() ? params_->empty_address_recipient : recipient.address;
    recipient.address = parts_.router->rewrite(recipient.original);
    if (recipient.orcpt.empty()) recipient.orcpt = "rfc822;" + smtp::encode_xtext(recipient.address);
    envelope.recipients.push_back(std::move(recipient));
  }
  message.headers.insert(message.headers.begin(), received(file, envelope));

  std::string refusal;   // "5.7.1 text": the message goes back to its sender
  if (mime::count_hops(message) >= static_cast<std::size_t>(params_->hopcount_limit)) {
    cleanup_log_.warning(envelope.queue_id + ": message rejected: hopcount exceeded");
    refusal = "5.4.0 too many hops";
  }
  using HeaderContext = rewrite::Cleanup::HeaderContext;
  const HeaderContext context = !submission.gateway                              ? HeaderContext::local
                                : params_->remote_header_rewrite_domain.empty() ? HeaderContext::none
                                                                                 : HeaderContext::remote;
  if (const auto done = rewriting_->headers(message, context, address_mappings_); !done) return unusable(done.error());
  const Result<std::string> from = from_field(submission, envelope.sender);
  if (!from) return unusable(from.error());
  mime::HeaderPolicy policy = header_policy_;
  policy.add_missing = !submission.gateway || params_->always_add_missing_headers || context == HeaderContext::remote;
  std::vector<std::string> lines;
  mime::apply_header_policy(message, policy, envelope.queue_id, *from, now, lines);
  for (const std::string& line : lines) cleanup_log_.info(envelope.queue_id + ": " + line);
  if (detect_smtputf8_) {
    envelope.smtputf8 = !is_ascii(envelope.sender) || !is_ascii(message.header_text()) ||
                        std::any_of(envelope.recipients.begin(), envelope.recipients.end(),
                                    [](const mime::Recipient& one) { return !is_ascii(one.address); });
  }
  envelope.size = message.size();
  if (refusal.empty()) {
    if (const Outcome judged = judge(envelope, message, refusal); judged != Outcome::taken) return judged;
  }
  bool map = address_mappings_;
  if (!envelope.redirect.empty()) {
    envelope.content_filter.clear();   // which it overrides
    mime::Recipient only = envelope.recipients.back();
    only.address = std::exchange(envelope.redirect, {});
    only.notify = 0;
    envelope.recipients.assign(1, std::move(only));
    auto sender = rewriting_->sender(envelope.sender, map);
    if (!sender) return unusable(sender.error());
    envelope.sender = std::move(*sender);
    map = false;
  }
  if (const auto done = rewriting_->envelope(envelope, map); !done) {
    if (done.error().code != Errc::too_large) return unusable(done.error());
    cleanup_log_.warning(fmt::format("{}: {}", envelope.queue_id, done.error().context));
    refusal = "5.6.0 Alias expansion error";
  }
  if (envelope.recipients.empty()) return Outcome::gone;
  // There is no client to refuse it to: the error transport returns it.
  if (!refusal.empty()) envelope.content_filter = "error:" + refusal;
  envelope.size = message.size();
  if (const Result<void> stored = parts_.sink->submit(envelope, message); !stored) {
    log_.warning(fmt::format("{}: {} -- message kept in maildrop", envelope.queue_id, stored.error().context));
    return Outcome::keep;
  }
  return Outcome::taken;
}

Pickup::Outcome Pickup::judge(mime::Envelope& envelope, mime::Message& message, std::string& refusal) {
  if (!inspect_) return Outcome::taken;
  const filter::Verdict verdict = inspect_(envelope, message);
  switch (verdict.action) {
    case filter::Action::proceed:
    case filter::Action::accept: return Outcome::taken;
    case filter::Action::quarantine:
      envelope.hold = true;
      envelope.hold_reason = verdict.text;
      return Outcome::taken;
    case filter::Action::discard: return Outcome::gone;
    case filter::Action::tempfail: return Outcome::keep;
    case filter::Action::reject:
    case filter::Action::disconnect: break;
  }
  refusal = fmt::format("{} {}", verdict.enhanced.starts_with('5') ? verdict.enhanced : "5.7.1",
                        verdict.text.empty() ? "message content rejected" : verdict.text);
  return Outcome::taken;
}

}  // namespace millrace::submit
