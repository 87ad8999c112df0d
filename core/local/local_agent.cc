#include "core/local/local_agent.h"

#include <fmt/format.h>

#include <deque>
#include <map>
#include <set>
#include <tuple>

#include "core/base/strings.h"
#include "core/config/config.h"
#include "core/deliver/report.h"
#include "core/local/alias_list.h"
#include "core/local/alias_maps.h"
#include "core/local/delivery_task.h"
#include "core/local/pipe_agent.h"
#include "core/local/report.h"
#include "core/local/task_files.h"

namespace millrace::local {
namespace {

using deliver::Attempt;
using deliver::Outcome;
using Status = Outcome::Status;

constexpr int kMaxLevel = 100;            // aliases in aliases
constexpr std::size_t kMaxSteps = 10000;   // of one recipient's expansion

// What all deliveries of a service share.
struct Shared {
  explicit Shared(LocalParts given) : parts(std::move(given)), params(parts.config->params_for(*parts.service, nullptr)) {}
  LocalParts parts;
  std::shared_ptr<const config::Params> params;
  std::optional<AliasMaps> aliases;
  bool propagate_alias = false, propagate_forward = false, propagate_include = false;   // propagate_unmatched_extensions
  map::Maps mailbox_transports, fallback_transports;
  std::string sender_of(const std::string& name) const { return parts.router->rewrite(name); }
};

struct Errand {
  std::vector<Record> records;
  std::string failure;   // why there are none
};

// Asks the master's child and waits for its report. [fiber]
Errand ask(const Shared& shared, Request request, int message) {
  auto output = Output::make(kMaxReport);
  if (!output) return {{}, output.error().context};
  const int fds[] = {message, (*output)->write_end()};
  const auto answer = shared.parts.runner->run(std::move(request), fds);
  if (!answer) return {{}, answer.error().context};
  if (answer->ending != Answer::Ending::ended) return {{}, answer->ending == Answer::Ending::refused ? answer->text : "time limit exceeded"};
  auto records = decode_report((*output)->take());
  if (!records) return {{}, "the delivery process died"};
  return {std::move(*records), {}};
}

// One recipient's way.
class Delivery {
 public:
  Delivery(Shared& shared, Attempt& attempt, std::size_t position, int message, const std::string& headers)
      : shared_(shared), attempt_(attempt), position_(position), message_(message), headers_(headers),
        sender_(attempt.sender()) {}

  Outcome run() {
    const std::string& address = attempt_.recipient(position_).address;
    delivered_ = lower(address);   // as local(8)
    // A list of steps and no recursion: its depth would be the users' to choose.
    steps_.push_back({address, 0, "", sender_, false});
    for (std::size_t count = 0; !steps_.empty(); ++count) {
      const Step step = std::move(steps_.front());
      steps_.pop_front();
      if (count >= kMaxSteps) {
        bounce("5.4.6", "alias expansion of " + address + " has no end", address);
        break;
      }
      sender_ = step.sender;
      is_list_ = step.is_list;
      if (!params().frozen_delivered_to) delivered_ = lower(step.address);
      recipient(step.address, step.level, step.from);
    }
    send_forwards();
    return settle();
  }

 private:
  const config::Params& params() const { return *shared_.params; }

  void add(Status status, std::string dsn, std::string text, const std::string& address) {
    Outcome out;
    out.status = status;
    out.dsn = std::move(dsn);
    out.text = std::move(text);
    out.relay = shared_.parts.service->name;
    out.final_recipient = address;
    out.last_hop = true;
    parts_.push_back(std::move(out));
  }
  void put_off(std::string dsn, std::string text, const std::string& address) { add(Status::deferred, std::move(dsn), std::move(text), address); }
  void bounce(std::string dsn, std::string text, const std::string& address) { add(Status::bounced, std::move(dsn), std::move(text), address); }
  void warn(const std::string& text) const { shared_.parts.log.warning(attempt_.entry->envelope.queue_id + ": " + text); }

  // `from`: the alias or user whose expansion led here.
  void recipient(const std::string& address, int level, const std::string& from) {
    if (has_delivered_to(headers_, address)) return bounce("5.4.6", "mail forwarding loop for " + address, address);
    if (level > kMaxLevel) {
      warn("alias database loop for " + address);
      return bounce("5.4.6", "possible alias database loop for " + address, address);
    }
    const std::size_t at = address.rfind('@');
    std::string local = lower(address.substr(0, at));
    if (local.starts_with('\\')) {   // \user: neither alias nor .forward
      local.erase(0, 1);
      return account(local, "", address, local, level, false);
    }
    if (alias(local, address, level, from, "")) return;
    const auto [user, extension] = map::split_extension(local, params().recipient_delimiter);
    std::string tail(extension);
    if (tail.find('/') != tail.npos) {
      warn(address + ": address with illegal extension: " + tail);
      tail.clear();
    }
    if (!extension.empty() && alias(std::string(user), address, level, from, shared_.propagate_alias ? tail : "")) return;
    account(std::string(user), tail, address, local, level, true);
  }

  // True when there is such an alias; what it says is done.  `unmatched` is put on the addresses it stands for.
  bool alias(const std::string& name, const std::string& address, int level, const std::string& from, const std::string& unmatched) {
    if (iequals(name, from)) return false;   // found in its own expansion
    const auto found = shared_.aliases->find(name);
    if (!found) {
      warn(found.error().context);
      put_off("4.3.0", "alias database unavailable", address);
      return true;
    }
    if (!*found) return false;
    const std::vector<Destination> list = parse_destinations((*found)->value);
    if (list.empty()) {
      warn("no recipients in alias: " + name);
      bounce("5.1.3", "alias " + name + " names no recipient", address);
      return true;
    }
    const std::string sender = sender_;
    const bool list_before = is_list_;
    take_owner(name);
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (list[i].kind == Destination::Kind::address) {
        resolve(list[i].text, level, name, unmatched);
      } else if (seen_.insert("entry " + list[i].text).second) {
        Request request = facts(TaskKind::alias, address);
        request.add(Tag::user, name);
        request.add(Tag::alias_name, name);
        request.add(Tag::entry, std::to_string(i));
        carry_out(std::move(request), address, level, name, unmatched);
      }
    }
    sender_ = sender;
    is_list_ = list_before;
    return true;
  }

  // The owner of a list gets what comes back: owner-NAME becomes the sender of what is forwarded.
  void take_owner(const std::string& name) {
    if (attempt_.sender().empty()) return;   // a bounce stays one
    const auto owner = params().owner_request_special ? shared_.aliases->find("owner-" + name) : Result<std::optional<AliasMaps::Found>>(std::nullopt);
    if (owner && *owner) {
      const std::vector<Destination> list = parse_destinations((*owner)->value);
      const bool expand = params().expand_owner_alias && list.size() == 1 && list[0].kind == Destination::Kind::address;
      sender_ = shared_.sender_of(expand ? list[0].text : "owner-" + name);
      is_list_ = true;
    } else if (params().reset_owner_alias) {
      sender_ = attempt_.sender();
      is_list_ = false;
    }
  }

  // An address that an alias, a .forward or luser_relay named; "+extension" in `unmatched` comes on top.
  void resolve(const std::string& text, int level, const std::string& from, const std::string& unmatched) {
    const bool as_is = text.starts_with('\\');
    const std::string address = shared_.parts.router->rewrite(as_is ? text.substr(1) : text);
    auto route = shared_.parts.router->resolve(address, sender_);
    if (!route) {
      warn(route.error().context);
      return put_off("4.3.0", "address resolver failure", address);
    }
    if (!unmatched.empty()) route->recipient.insert(std::min(route->recipient.rfind('@'), route->recipient.size()), unmatched);
    // What a list sends on is a message of its own: its sender is another (RFC 3461 section 5.2.7.3).
    if (route->transport == shared_.parts.service->name && !is_list_) {
      steps_.push_back({(as_is ? "\\" : "") + route->recipient, level + 1, from, sender_, is_list_});
      return;
    }
    if (!seen_.insert("to " + lower(route->recipient)).second) return;
    if (has_delivered_to(headers_, route->recipient)) return bounce("5.4.6", "mail forwarding loop for " + route->recipient, route->recipient);
    forwards_[{sender_, is_list_, delivered_}].push_back(route->recipient);
  }

  Request facts(TaskKind kind, const std::string& address) const {
    Request request;
    request.kind = kind;
    request.service = shared_.parts.service->name;
    add_facts(request, attempt_);
    const mime::Recipient& given = attempt_.recipient(position_);
    const std::size_t at = address.rfind('@');
    request.add(Tag::recipient, address);
    request.add(Tag::original, given.original.empty() ? given.address : given.original);
    request.add(Tag::local_part, address.substr(0, at));
    request.add(Tag::domain, at == address.npos ? "" : address.substr(at + 1));
    request.add(Tag::delivered, delivered_);
    if (attempt_.verify_only()) request.add(Tag::verify, attempt_.entry->envelope.trace == mime::Trace::probe ? kVerifyProbe : kVerifyUser);
    return request;
  }

  // An account of the system: its .forward, then its mailbox or what stands in its place.
  void account(const std::string& user, const std::string& extension, const std::string& address, const std::string& local,
               int level, bool may_forward) {
    std::string transport;
    if (!transport_of(shared_.mailbox_transports, params().mailbox_transport, user, address, transport)) return;
    const bool forward = may_forward && !params().forward_path.empty() && seen_.insert("forward " + local).second;
    if (!forward && !seen_.insert("mailbox " + user).second) return;   // has it already
    if (!forward && !transport.empty()) return through(transport, address);
    Request request = facts(forward ? TaskKind::forward : TaskKind::mailbox, address);
    request.add(Tag::user, user);
    if (!extension.empty()) {
      request.add(Tag::extension, extension.substr(1));
      request.add(Tag::delimiter, extension.substr(0, 1));
    }
    if (forward && transport.empty()) request.add(Tag::entry, kThenMailbox);
    bool no_user = false, no_forward = false;
    carry_out(std::move(request), address, level, local, shared_.propagate_forward ? extension : "", &no_user, &no_forward);
    if (forward && no_forward) seen_.insert("mailbox " + user);
    if ((no_user || no_forward) && !transport.empty()) return through(transport, address);
    if (no_user) unknown(user, address, local, level);
  }

  bool transport_of(const map::Maps& maps, const std::string& fallback, const std::string& key, const std::string& address, std::string& out) {
    out = fallback;
    if (maps.empty()) return true;
    const auto found = maps.find(key);
    if (!found) {
      warn(found.error().context);
      put_off("4.3.0", "transport table lookup failure", address);
      return false;
    }
    if (*found) out = **found;
    return true;
  }

  void through(const std::string& transport, const std::string& address) {
    queue::Entry entry = *attempt_.entry;
    entry.recipients[attempt_.recipients[position_]].recipient.address = address;
    Attempt inner;
    inner.entry = &entry;
    inner.recipients = {attempt_.recipients[position_]};
    inner.content = attempt_.content;
    inner.verp_sender = attempt_.verp_sender;
    inner.active = attempt_.active;
    inner.started = attempt_.started;
    const std::size_t colon = transport.find(':');
    inner.nexthop = colon == transport.npos ? "" : transport.substr(colon + 1);
    if (inner.nexthop.empty()) inner.nexthop = params().myhostname;
    shared_.parts.deliver_through(transport.substr(0, colon), inner);
    if (attempt_.connected == 0) attempt_.connected = inner.connected;
    parts_.push_back(inner.outcomes.front());
    if (address != attempt_.recipient(position_).address) parts_.back().final_recipient = address;
  }

  void unknown(const std::string& user, const std::string& address, const std::string& local, int level) {
    std::string transport;
    if (!transport_of(shared_.fallback_transports, params().fallback_transport, user, address, transport)) return;
    if (!transport.empty()) return through(transport, address);
    if (!params().luser_relay.empty()) {
      const auto relay = config::expand_macros(params().luser_relay, [&](std::string_view name) -> std::optional<std::string> {
        const std::size_t at = address.rfind('@');
        if (name == "user") return user;
        if (name == "local") return address.substr(0, at);
        if (name == "recipient") return address;
        if (name == "domain" && at != address.npos) return address.substr(at + 1);
        const auto extension = map::split_extension(local, params().recipient_delimiter).second;
        if (extension.empty()) return std::nullopt;
        if (name == "extension") return std::string(extension.substr(1));
        if (name == "recipient_delimiter") return std::string(extension.substr(0, 1));
        return std::nullopt;
      });
      if (!relay) return put_off("4.3.5", "mail system configuration error", address);
      std::string to = *relay;
      if (to.starts_with('@')) to = address.substr(0, address.rfind('@')) + to;
      if (seen_.insert("luser " + lower(address)).second && !iequals(to, address)) return resolve(to, level, local, "");
    }
    if (iequals(user, "postmaster") || iequals(user, "mailer-daemon")) {
      // RFC 5321 section 4.5.1: must be accepted; nobody is there to read it.
      warn("required alias not found: " + user);
      return add(Status::sent, "2.0.0", "discarded", address);
    }
    bounce("5.1.1", "unknown user: \"" + user + "\"", address);
  }

  void carry_out(Request request, const std::string& address, int level, const std::string& from, std::string unmatched,
                 bool* no_user = nullptr, bool* no_forward = nullptr) {
    const Errand errand = ask(shared_, std::move(request), message_);
    if (!errand.failure.empty()) {
      warn(errand.failure);
      return put_off("4.3.0", "mail system error", address);
    }
    for (const Record& record : errand.records) {
      switch (record.kind) {
        case Record::Kind::address:
          resolve(record.text, level, from, record.dsn == kFromInclude && !shared_.propagate_include ? "" : unmatched);
          break;
        case Record::Kind::outcome: add(record.status, record.dsn, record.text, address); break;
        case Record::Kind::warning: warn(record.text); break;
        case Record::Kind::no_user:
          if (no_user != nullptr) *no_user = true;
          else add(Status::deferred, "4.3.0", "mail system error", address);
          break;
        case Record::Kind::no_forward:
          if (no_forward != nullptr) *no_forward = true;
          break;
        case Record::Kind::forward_file:
          if (record.dsn == kNamedByExtension) unmatched.clear();   // the file is the extension's own
          break;
        case Record::Kind::end: break;
      }
    }
  }

  void send_forwards() {
    bool named = false;
    for (const std::string_view word : split(params().prepend_delivered_header, ", \t\r\n")) {
      if (iequals(word, "forward")) named = true;
    }
    for (const auto& [who, list] : forwards_) {
      if (attempt_.verify_only()) {
        for (const std::string& to : list) add(Status::sent, "2.0.0", "forwards to " + to, to);
        continue;
      }
      const auto& [sender, is_list, delivered] = who;
      const auto id = shared_.parts.forwarder->forward(attempt_, position_, sender, is_list, list, named ? delivered : "");
      if (id) {
        add(Status::sent, "2.0.0", "forwarded as " + *id, "");
        parts_.back().next_hop_reports = true;
      } else {
        warn(id.error().context);
        put_off("4.3.0", "forwarding failed", "");
      }
    }
  }

  // The worst decides for the recipient; the others are logged here.
  Outcome settle() {
    if (parts_.empty()) add(Status::sent, "2.0.0", "delivered to nobody: all were duplicates", "");
    const auto rank = [](const Outcome& one) { return one.status == Status::deferred ? 2 : one.status == Status::bounced ? 1 : 0; };
    std::size_t worst = 0;
    for (std::size_t i = 1; i < parts_.size(); ++i) {
      if (rank(parts_[i]) > rank(parts_[worst])) worst = i;
    }
    const std::string& own = attempt_.recipient(position_).address;
    for (Outcome& one : parts_) {
      if (iequals(one.final_recipient, own)) one.final_recipient.clear();
    }
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (i == worst) continue;
      Attempt one = attempt_;
      one.recipients = {attempt_.recipients[position_]};
      one.outcomes = {parts_[i]};
      attempt_.others.emplace_back(position_, parts_[i]);
      const char* status = attempt_.verify_only() ? (rank(parts_[i]) == 0 ? "deliverable" : "undeliverable")
                           : rank(parts_[i]) == 2 ? "deferred" : rank(parts_[i]) == 1 ? "bounced" : "sent";
      shared_.parts.log.info(deliver::recipient_line(one, 0, wall_now(), shared_.parts.delay_places, status));
    }
    return parts_[worst];
  }

  Shared& shared_;
  Attempt& attempt_;
  const std::size_t position_;
  const int message_;
  const std::string& headers_;
  std::string sender_, delivered_;
  std::vector<Outcome> parts_;
  std::set<std::string> seen_;
  struct Step {
    std::string address;
    int level;
    std::string from, sender;
    bool is_list;
  };
  std::deque<Step> steps_;
  bool is_list_ = false;   // within an alias that has an owner
  std::map<std::tuple<std::string, bool, std::string>, std::vector<std::string>> forwards_;   // by sender, whether a list's, Delivered-To
};

class LocalAgent final : public deliver::Agent {
 public:
  explicit LocalAgent(std::unique_ptr<Shared> shared) : shared_(std::move(shared)) {}

  void deliver(Attempt& attempt, std::unique_ptr<deliver::Carry>&) override {
    attempt.outcomes.assign(attempt.recipients.size(), Outcome{});
    attempt.connected = wall_now();
    const std::string headers = header_section(attempt.content);
    auto message = write_message(attempt.content, shared_->parts.spool, nullptr);
    if (!message) {
      shared_->parts.log.warning(attempt.entry->envelope.queue_id + ": " + message.error().context);
      return attempt.all_pending(Status::deferred, "4.3.0", "mail system error");
    }
    for (std::size_t i = 0; i < attempt.recipients.size(); ++i) {
      attempt.outcomes[i] = Delivery(*shared_, attempt, i, message->get(), headers).run();
    }
  }
  bool can_verify() const override { return true; }
  void release(const std::string&, std::unique_ptr<deliver::Carry>, bool) override {}

 private:
  std::unique_ptr<Shared> shared_;
};

class VirtualAgent final : public deliver::Agent {
 public:
  explicit VirtualAgent(std::unique_ptr<Shared> shared) : shared_(std::move(shared)) {}

  void deliver(Attempt& attempt, std::unique_ptr<deliver::Carry>&) override {
    attempt.outcomes.assign(attempt.recipients.size(), Outcome{});
    attempt.connected = wall_now();
    const std::string headers = header_section(attempt.content);
    auto message = write_message(attempt.content, shared_->parts.spool, nullptr);
    for (std::size_t i = 0; i < attempt.recipients.size(); ++i) {
      const mime::Recipient& recipient = attempt.recipient(i);
      Outcome& out = attempt.outcomes[i];
      out.relay = shared_->parts.service->name;
      out.last_hop = true;
      const auto set = [&out](Status status, std::string dsn, std::string text) {
        out.status = status;
        out.dsn = std::move(dsn);
        out.text = std::move(text);
      };
      const auto warn = [&](const std::string& text) { shared_->parts.log.warning(attempt.entry->envelope.queue_id + ": " + text); };
      if (has_delivered_to(headers, recipient.address)) {
        set(Status::bounced, "5.4.6", "mail forwarding loop for " + recipient.address);
        continue;
      }
      set(Status::deferred, "4.3.0", "mail system error");
      if (!message) {
        warn(message.error().context);
        continue;
      }
      Request request;
      request.kind = TaskKind::virtual_mailbox;
      request.service = shared_->parts.service->name;
      add_facts(request, attempt);
      request.add(Tag::recipient, recipient.address);
      request.add(Tag::original, recipient.original.empty() ? recipient.address : recipient.original);
      request.add(Tag::delivered, recipient.address);
      if (attempt.verify_only()) request.add(Tag::verify, kVerifyUser);
      const Errand errand = ask(*shared_, std::move(request), message->get());
      if (!errand.failure.empty()) warn(errand.failure);
      for (const Record& record : errand.records) {
        if (record.kind == Record::Kind::outcome) set(record.status, record.dsn, record.text);
        if (record.kind == Record::Kind::warning) warn(record.text);
      }
    }
  }
  bool can_verify() const override { return true; }
  void release(const std::string&, std::unique_ptr<deliver::Carry>, bool) override {}

 private:
  std::unique_ptr<Shared> shared_;
};

}  // namespace

Result<std::unique_ptr<deliver::Agent>> make_local_agent(LocalParts parts) {
  auto shared = std::make_unique<Shared>(std::move(parts));
  auto aliases = AliasMaps::open(*shared->parts.config, *shared->params, *shared->parts.tables);
  if (!aliases) return tl::unexpected(aliases.error());
  shared->aliases = std::move(*aliases);
  for (const std::string_view word : split(shared->params->propagate_unmatched_extensions, ", \t\r\n")) {
    if (iequals(word, "alias")) shared->propagate_alias = true;
    if (iequals(word, "forward")) shared->propagate_forward = true;
    if (iequals(word, "include")) shared->propagate_include = true;
  }
  const auto open = [&](const char* name, const std::string& value, map::Maps& to) -> Result<void> {
    auto maps = map::Maps::open(*shared->parts.tables, value);
    if (!maps) return fail(name, maps.error());
    to = std::move(*maps);
    return {};
  };
  if (auto ok = open("mailbox_transport_maps", shared->params->mailbox_transport_maps, shared->mailbox_transports); !ok) return tl::unexpected(ok.error());
  if (auto ok = open("fallback_transport_maps", shared->params->fallback_transport_maps, shared->fallback_transports); !ok) return tl::unexpected(ok.error());
  return std::make_unique<LocalAgent>(std::move(shared));
}

Result<std::unique_ptr<deliver::Agent>> make_virtual_agent(LocalParts parts) {
  return std::make_unique<VirtualAgent>(std::make_unique<Shared>(std::move(parts)));
}

}  // namespace millrace::local
