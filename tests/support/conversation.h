// An SMTP server session without sockets: a configuration, a filter and a script in, the conversation, the
// log and the stored messages out.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "core/smtp/address.h"
#include "core/smtp/session.h"
#include "tests/support/on_loop.h"
#include "tests/support/scripted_stream.h"

namespace millrace::test {

// Routes nothing, knows syntax.
class PlainRouter final : public rewrite::Router {
 public:
  std::string rewrite(std::string_view address) const override {
    return std::string(address) + (address.find('@') == address.npos ? "@mx.example" : "");
  }
  Result<rewrite::Route> resolve(std::string_view, std::string_view) const override { return rewrite::Route{}; }
  Result<bool> is_auth_destination(std::string_view) const override { return true; }
  Result<bool> is_local_domain(std::string_view) const override { return false; }
  bool is_deliverable_syntax(std::string_view address) const override {
    const std::size_t at = address.rfind('@');
    if (at == address.npos) return true;
    const std::string_view domain = address.substr(at + 1);
    if (domain.size() > 2 && domain.front() == '[') return smtp::is_ip_address(domain.substr(1, domain.size() - 2));
    return address.front() != '-' && smtp::is_host_name(domain, true);
  }
  Result<std::string> unlisted(std::string_view, Role, std::string_view, int*) const override { return std::string(); }
};

struct StoredMessage {
  mime::Envelope envelope;
  std::string headers, body;
};

class MemorySink final : public smtp::MessageSink {
 public:
  Result<std::string> new_queue_id() override {
    if (!gives_ids) return fail(Errc::closed, "no ids");
    return "ID" + std::to_string(++ids_);
  }
  Result<void> submit(const mime::Envelope& envelope, mime::Message& message) override {
    if (failure != Errc::internal) return fail(failure, "submit");
    stored.push_back({envelope, message.header_text(), message.body.memory()});
    return {};
  }
  int spool_directory() const override { return -1; }
  bool has_space(std::uint64_t) override { return space; }
  std::vector<StoredMessage> stored;
  Errc failure = Errc::internal;   // internal: none
  bool gives_ids = true, space = true;

 private:
  int ids_ = 0;
};

class ScriptedFilter final : public filter::Filter {
 public:
  using At = std::function<filter::Verdict(filter::Stage, filter::Context&)>;
  using Content = std::function<filter::Verdict(filter::Context&, const mime::Message&, filter::Journal&)>;
  At at;
  Content content;
  int aborts = 0, opened = 0;
  std::unique_ptr<filter::FilterSession> open(const filter::SessionFacts&) override {
    ++opened;
    return std::make_unique<One>(*this);
  }
  const std::string& name() const override { return name_; }

 private:
  struct One final : filter::FilterSession {
    explicit One(ScriptedFilter& owner) : owner_(owner) {}
    filter::Verdict at(filter::Stage stage, filter::Context& context) override {
      return owner_.at ? owner_.at(stage, context) : filter::Verdict();
    }
    filter::Verdict message(filter::Context& context, const mime::Message& message, filter::Journal& journal) override {
      return owner_.content ? owner_.content(context, message, journal) : filter::Verdict();
    }
    void abort() override { ++owner_.aborts; }
    ScriptedFilter& owner_;
  };
  std::string name_ = "script";
};

class NoTls final : public net::TlsContext {};

class Conversation {
 public:
  explicit Conversation(std::string main_cf = "", std::string service = "smtp inet n - n - - smtpd\n") {
    filter = std::make_shared<ScriptedFilter>();
    config = config::Config::from_text(
        "compatibility_level = 3.6\nmyhostname = mx.example\nmydomain = example\nmail_name = Mill\n"
        "mynetworks = 127.0.0.0/8\ninet_interfaces = 127.0.0.1\ninet_protocols = all\nsmtpd_error_sleep_time = 0\n"
        "smtpd_banner = mx.example ESMTP\nsmtpd_peername_lookup = no\nrelay_domains = dest.example\n"
        "virtual_alias_maps =\nfast_flush_domains = dest.example\n" + main_cf,
        service, findings);
    parts.config = config;
    parts.service = &config->services().front();
    parts.tables = &tables_;
    parts.router = std::make_shared<PlainRouter>();
    parts.chain.add(filter);
    parts.sink = &sink;
  }

  // Each piece arrives by itself.
  std::string pieces(std::deque<std::string> script) {
    if (!context) context = smtp::ServiceContext::make(parts, findings);
    if (!context) return "no service";
    std::FILE* file = std::tmpfile();
    log::Options options;
    options.facility = log::Facility::file;
    options.fd = fileno(file);
    options.host = "h";
    log::open(options);
    std::string sent;
    on_loop([&] {
      auto stream = std::make_unique<ScriptedStream>(std::move(script), &sent);
      stream->tls_works = tls_works;
      stream->writes_left = writes_left;
      smtp::Session session(std::move(stream), *context, {client, 4321, false}, {"192.0.2.1", 25, false});
      session.run();
    });
    log::flush();
    log = read_log(file);
    std::fclose(file);
    return sent;
  }
  // Each line arrives by itself, with CRLF.
  std::string operator()(std::initializer_list<std::string> lines) {
    std::deque<std::string> script;
    for (const std::string& line : lines) script.push_back(line + "\r\n");
    return pieces(std::move(script));
  }

  config::Findings findings;
  std::shared_ptr<const config::Config> config;
  smtp::ServiceParts parts;
  std::shared_ptr<smtp::ServiceContext> context;
  std::shared_ptr<ScriptedFilter> filter;
  MemorySink sink;
  std::string log;                 // lines without date, host and number
  std::string client = "192.0.2.10";
  bool tls_works = true;
  int writes_left = -1;

 private:
  static std::string read_log(std::FILE* file) {
    std::rewind(file);
    std::string out;
    char line[4096];
    while (std::fgets(line, sizeof line, file) != nullptr) {
      const std::string_view text(line);
      const std::size_t end = text.find("]: ");
      const std::size_t slash = text.find('/');
      const std::size_t bracket = text.find('[');
      if (end == text.npos) continue;
      const std::string_view program = text.substr(slash + 1, bracket - slash - 1);
      if (program != "smtpd") out.append(program).append(" ");
      out.append(text.substr(end + 3));
    }
    return out;
  }
  map::TableSet tables_{map::TableOptions{}};
};

}  // namespace millrace::test
