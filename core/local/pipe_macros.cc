#include "core/local/pipe_macros.h"

#include "core/base/strings.h"
#include "core/config/config.h"
#include "core/map/table.h"
#include "core/rewrite/router.h"

namespace millrace::local {
namespace {

// The h, u and q flags on a whole address.
std::string morph(std::string_view address, unsigned flags) {
  const std::size_t at = address.rfind('@');
  std::string local(address.substr(0, at));
  std::string domain(at == address.npos ? "" : address.substr(at));
  if (flags & kFoldUser) local = lower(local);
  if (flags & kFoldHost) domain = lower(domain);
  // Only the local part is quoted; quote_local() takes a whole address.
  if (flags & kQuoteLocal) return rewrite::quote_local(local + domain);
  return local + domain;
}

}  // namespace

PipeFacts pipe_facts(const Request& request) {
  PipeFacts out;
  out.sender = request.value(Tag::sender);
  out.nexthop = request.value(Tag::nexthop);
  out.queue_id = request.value(Tag::queue_id);
  out.size = request.value(Tag::size);
  out.client_address = request.value(Tag::client_address);
  out.client_helo = request.value(Tag::client_helo);
  out.client_hostname = request.value(Tag::client_hostname);
  out.client_port = request.value(Tag::client_port);
  out.client_protocol = request.value(Tag::client_protocol);
  out.sasl_method = request.value(Tag::sasl_method);
  out.sasl_sender = request.value(Tag::sasl_sender);
  out.sasl_username = request.value(Tag::sasl_username);
  for (const auto& [tag, value] : request.values) {
    if (tag == Tag::recipient) out.recipients.push_back({value, value});
    if (tag == Tag::original && !out.recipients.empty()) out.recipients.back().original = value;
  }
  return out;
}

Result<std::vector<std::string>> expand_command(const CommandSpec& spec, const PipeFacts& facts,
                                                const std::string& recipient_delimiter) {
  std::string sender = facts.sender.empty() ? spec.null_sender : facts.sender;
  if (!sender.empty() && (spec.flags & kQuoteLocal)) sender = rewrite::quote_local(sender);

  std::vector<std::string> out;
  for (const std::string& argument : spec.argv) {
    bool per_recipient = false;
    std::string unknown, no_user;
    const auto expand_for = [&](const PipeFacts::Recipient* recipient) {
      const auto value = [&](std::string_view name) -> std::optional<std::string> {
        if (name == "sender") return sender;
        if (name == "nexthop") return spec.flags & kFoldHost ? lower(facts.nexthop) : facts.nexthop;
        if (name == "queue_id") return facts.queue_id;
        if (name == "size") return facts.size;
        if (name == "client_address") return facts.client_address;
        if (name == "client_helo") return facts.client_helo;
        if (name == "client_hostname") return facts.client_hostname;
        if (name == "client_port") return facts.client_port;
        if (name == "client_protocol") return facts.client_protocol;
        if (name == "sasl_method") return facts.sasl_method;
        if (name == "sasl_sender") return facts.sasl_sender;
        if (name == "sasl_username") return facts.sasl_username;
        const bool known = name == "recipient" || name == "original_recipient" || name == "user" ||
                           name == "extension" || name == "mailbox" || name == "domain";
        if (!known) {
          unknown = name;
          return std::nullopt;
        }
        per_recipient = true;
        if (recipient == nullptr) return std::string();
        if (name == "recipient") return morph(recipient->address, spec.flags);
        if (name == "original_recipient") return morph(recipient->original, spec.flags);
        const std::size_t at = recipient->address.rfind('@');
        if (name == "domain") {
          const std::string domain = at == std::string::npos ? "" : recipient->address.substr(at + 1);
          return spec.flags & kFoldHost ? lower(domain) : domain;
        }
        std::string mailbox = recipient->address.substr(0, at);
        if (spec.flags & kFoldUser) mailbox = lower(mailbox);
        const auto [user, extension] = map::split_extension(mailbox, recipient_delimiter);
        if (user.empty()) no_user = recipient->address;
        if (name == "mailbox") return mailbox;
        if (name == "user") return std::string(user);
        return std::string(extension.empty() ? extension : extension.substr(1));
      };
      return config::expand_macros(argument, value);
    };
    auto first = expand_for(nullptr);
    if (!unknown.empty()) return fail(Errc::config, "unknown macro name: \"" + unknown + "\"");
    if (!first) return tl::unexpected(first.error());
    // The condition of ${name?text} may hide a name behind an empty value: the first look had none.
    if (!per_recipient) {
      out.push_back(std::move(*first));
      continue;
    }
    for (const PipeFacts::Recipient& recipient : facts.recipients) {
      auto one = expand_for(&recipient);
      if (!unknown.empty()) return fail(Errc::config, "unknown macro name: \"" + unknown + "\"");
      if (!one) return tl::unexpected(one.error());
      if (!no_user.empty()) return fail(Errc::protocol, "empty user part in recipient <" + no_user + ">");
      out.push_back(std::move(*one));
    }
  }
  return out;
}

}  // namespace millrace::local
