#include "core/rewrite/address_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/base/strings.h"
#include "core/map/text.h"
#include "core/rewrite/address_list.h"

namespace millrace::rewrite {

namespace {

constexpr std::size_t kMaxResultTokens = 100000;   // of one table result: lists of thousands are in use

constexpr std::array<std::string_view, 12> kSenderFields = {
    "Disposition-Notification-To", "Errors-To", "From", "Mail-Followup-To", "Reply-To", "Resent-From",
    "Resent-Reply-To", "Resent-Sender", "Return-Path", "Return-Receipt-To", "Sender", "Resent-Return-Path"};
constexpr std::array<std::string_view, 7> kRecipientFields = {"Apparently-To", "Bcc", "Cc", "Resent-Bcc",
                                                              "Resent-Cc", "Resent-To", "To"};

template <typename List>
bool names_one_of(const List& list, std::string_view name) {
  return std::any_of(list.begin(), list.end(), [name](std::string_view one) { return iequals(one, name); });
}

}  // namespace

bool is_sender_field(std::string_view name) { return names_one_of(kSenderFields, name); }
bool is_recipient_field(std::string_view name) { return names_one_of(kRecipientFields, name); }

AddressMapper::AddressMapper(const config::Params& params, std::shared_ptr<const Router> router)
    : router_(std::move(router)),
      rules_{params.append_at_myorigin, params.append_dot_mydomain, params.swap_bangpath, params.allow_percent_hack,
             params.myorigin, params.mydomain},
      myorigin_(params.myorigin),
      recipient_delimiter_(params.recipient_delimiter) {}

Result<std::optional<std::string>> AddressMapper::find(const NamedMaps& maps, std::string_view address,
                                                       std::string* extension) const {
  bool local_names = false;
  if (const std::size_t at = address.rfind('@'); at != address.npos) {
    const std::string_view domain = address.substr(at + 1);
    const auto local = router_->is_local_domain(domain);
    if (!local) return tl::unexpected(local.error());
    local_names = *local || iequals(domain, myorigin_);
  }
  auto found = maps.maps.find_address(address, recipient_delimiter_, [&](std::string_view) { return local_names; },
                                      extension);
  // Whatever went wrong with a table, the message can be tried again.
  if (!found) {
    return fail(Errc::temporary, fmt::format("{} map lookup problem for {}: {}", maps.name, address.substr(0, 300), found.error().context));
  }
  return found;
}

Result<std::vector<std::string>> AddressMapper::look_up(const NamedMaps& maps, std::string_view address,
                                                        bool propagate) const {
  std::vector<std::string> out;
  std::string extension;
  auto found = find(maps, address, &extension);
  if (!found) return tl::unexpected(found.error());
  if (!*found) return out;
  std::string text = std::move(**found);
  if (text.starts_with('@')) {   // another domain for the same user
    std::string_view user = address.substr(0, address.rfind('@'));
    user.remove_suffix(extension.size());
    const std::string domain = std::move(text);
    text = map::quote_address(std::string(user) + domain);
  }
  const auto add = [&](Tokens tokens) {
    rewrite_tokens(tokens, rules_);
    std::string one = internal_text(tokens);
    if (propagate && !extension.empty()) one.insert(std::min(one.rfind('@'), one.size()), extension);
    if (!one.empty()) out.push_back(std::move(one));
  };
  // "a@x b@y": blanks separate as commas do.
  for (Tokens& tokens : find_addresses(text, kMaxResultTokens)) add(std::move(tokens));
  if (out.empty()) {
    return fail(Errc::temporary, fmt::format("{}: no address in the result for {}", maps.name, address.substr(0, 300)));
  }
  return out;
}

}  // namespace millrace::rewrite
