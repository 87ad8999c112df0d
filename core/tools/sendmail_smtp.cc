// sendmail -bs: the SMTP server's session over standard input and output, with postdrop behind it.  It runs as the
// user who started it: no access rules, no filters, no rewriting; pickup does what is to be done.
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

#include "core/net/fiber.h"
#include "core/net/stream.h"
#include "core/smtp/service.h"
#include "core/smtp/session.h"
#include "core/tools/drop.h"
#include "core/tools/sendmail.h"

namespace millrace::tools {
namespace {

constexpr int kFailed = 75;

class DropSink final : public smtp::MessageSink {
 public:
  DropSink(std::string config_directory, std::size_t line_limit)
      : config_directory_(std::move(config_directory)), line_limit_(line_limit) {}

  Result<std::string> new_queue_id() override {
    timeval now{};
    ::gettimeofday(&now, nullptr);
    return fmt::format("{:X}{:05X}{:X}", now.tv_sec, now.tv_usec, ::getpid());
  }
  Result<void> submit(const mime::Envelope& envelope, mime::Message& message) override {
    submit::Submission submission;
    submission.sender = envelope.sender;
    submission.envid = envelope.envid;
    submission.ret = envelope.ret;
    submission.body = envelope.body;
    submission.recipients = envelope.recipients;
    auto drop = Drop::start(config_directory_);
    if (!drop) return tl::unexpected(drop.error());
    drop->envelope(submission);
    drop->begin_content();
    DropContent content(*drop, line_limit_);
    content.add(message.header_text());
    if (auto read = message.body.for_each([&](std::string_view piece) {
          content.add(piece);
          return true;
        });
        !read) {
      return read;
    }
    content.finish();
    drop->end_content();
    const auto name = drop->finish();
    return name ? Result<void>() : tl::unexpected(name.error());
  }
  int spool_directory() const override { return -1; }
  bool has_space(std::uint64_t) override { return true; }

 private:
  std::string config_directory_;
  std::size_t line_limit_;
};

void copy(int from, int to) {
  char piece[16384];
  for (ssize_t n; (n = ::read(from, piece, sizeof piece)) > 0;) {
    for (ssize_t at = 0; at < n;) {
      const ssize_t put = ::write(to, piece + at, static_cast<std::size_t>(n - at));
      if (put <= 0) return;
      at += put;
    }
  }
}

// Of main.cf only what a session shows: its tables may be root's, and what they do is pickup's work.
std::string session_parameters(const config::Params& params) {
  return fmt::format(
      "compatibility_level = 3.6\nmyhostname = {}\nmydomain = {}\nmyorigin = {}\nmail_name = {}\nsmtpd_banner = {}\n"
      "message_size_limit = {}\nline_length_limit = {}\nheader_size_limit = {}\nsmtputf8_enable = {}\n"
      "hopcount_limit = {}\nsyslog_name = {}\nmydestination =\nlocal_recipient_maps =\nalias_maps =\n"
      "local_header_rewrite_clients =\ninet_interfaces = 127.0.0.1\nmessage_drop_headers =\n"
      "smtpd_forbid_unauth_pipelining = no\nsmtpd_peername_lookup = no\nmynetworks = 127.0.0.0/8\nenable_original_recipient = no\n",
      params.myhostname, params.mydomain, params.myorigin, params.mail_name, params.smtpd_banner,
      params.message_size_limit, params.line_length_limit, params.header_size_limit,
      params.smtputf8_enable ? "yes" : "no", params.hopcount_limit, params.syslog_name);
}

}  // namespace

int sendmail_smtp(const std::string& config_directory) {
  config::Findings findings, ignored;
  const auto given = config::Config::load(config_directory, findings);
  log::Options options;
  options.facility = log::Facility::syslog;
  options.threaded = false;
  log::open(options);
  config::Findings problems;
  const auto config = config::Config::from_text(session_parameters(given->params()),
                                                "smtpd unix - - n - - smtpd\n", ignored, config_directory);
  map::TableSet tables({config_directory, [](const std::string&) {}});
  auto router = rewrite::Router::make(config, config->params(), tables);
  if (!router) {
    fmt::print(stderr, "sendmail: fatal: {}\n", router.error().context);
    return kFailed;
  }
  DropSink sink(config_directory, static_cast<std::size_t>(config->params().line_length_limit));
  smtp::ServiceParts parts;
  parts.config = config;
  parts.service = &config->services().front();
  parts.tables = &tables;
  parts.router = std::move(*router);
  parts.sink = &sink;
  const auto context = smtp::ServiceContext::make(std::move(parts), problems);
  if (!context) {
    for (const auto& line : problems.lines) fmt::print(stderr, "sendmail: fatal: {}\n", line.to_text());
    return kFailed;
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return kFailed;
  const int outer = ends[0];
  std::thread([outer] {   // may wait for input for ever: it ends with the process
    copy(0, outer);
    ::shutdown(outer, SHUT_WR);
  }).detach();
  std::thread output([outer] { copy(outer, 1); });
  {
    net::Loop loop;
    const auto started = loop.spawn(net::Stack::plugin, [&] {
      smtp::Session(net::make_stream(ends[1]), *context, {}, {}).run();
      loop.stop();
    });
    if (started) loop.run();
  }
  output.join();
  log::flush();
  ::_exit(0);
}

}  // namespace millrace::tools
