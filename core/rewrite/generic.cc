#include "core/rewrite/generic.h"

#include "core/base/strings.h"
#include "core/rewrite/address_list.h"

namespace millrace::rewrite {

Result<std::shared_ptr<const GenericMaps>> GenericMaps::make(const char* name, std::string_view value,
                                                             const config::Params& params,
                                                             std::shared_ptr<const Router> router, map::TableSet& tables) {
  if (trim(value).empty()) return std::shared_ptr<const GenericMaps>();
  auto out = std::make_shared<GenericMaps>();
  auto opened = map::Maps::open(tables, value);
  if (!opened) return fail(name, opened.error());
  out->maps_ = {name, std::move(*opened)};
  out->mapper_ = AddressMapper(params, std::move(router));
  for (const std::string_view word : split(params.propagate_unmatched_extensions, ", \t\r\n")) {
    out->propagate_ = out->propagate_ || iequals(word, "generic");
  }
  out->token_limit_ = static_cast<std::size_t>(params.header_address_token_limit);
  return std::shared_ptr<const GenericMaps>(std::move(out));
}

Result<std::string> GenericMaps::address(std::string_view address) const {
  if (address.empty()) return std::string();
  auto found = mapper_.look_up(maps_, address, propagate_);
  if (!found) return tl::unexpected(found.error());
  return found->empty() ? std::string(address) : std::move(found->front());
}

Result<void> GenericMaps::header(std::string& field) const {
  const std::size_t colon = field.find(':');
  if (colon == field.npos) return {};
  const std::string_view name = trim(std::string_view(field).substr(0, colon));
  if (!is_sender_field(name) && !is_recipient_field(name)) return {};
  const std::string_view end = std::string_view(field).ends_with("\r\n") ? "\r\n" : "";
  std::string value = field.substr(colon + 1, field.size() - colon - 1 - end.size());
  const auto changed = edit_addresses(value, colon + 1, token_limit_, [&](const Tokens& tokens) -> Result<std::optional<std::string>> {
    std::string before = internal_text(tokens);
    auto mapped = address(before);
    if (!mapped) return tl::unexpected(mapped.error());
    if (*mapped == before) return std::optional<std::string>();
    return std::optional<std::string>(std::move(*mapped));
  });
  if (!changed) return tl::unexpected(changed.error());
  if (*changed) field.replace(colon + 1, field.npos, value.append(end));
  return {};
}

}  // namespace millrace::rewrite
