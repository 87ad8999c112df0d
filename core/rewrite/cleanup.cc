#include "core/rewrite/cleanup.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "core/base/strings.h"
#include "core/map/text.h"
#include "core/rewrite/address_list.h"

namespace millrace::rewrite {

namespace {

constexpr int kMaxCanonicalNesting = 1000;

std::string short_name(std::string_view address) { return std::string(address.substr(0, 300)); }

}  // namespace

Result<unsigned> Cleanup::places_of(const char* name, std::string_view words, unsigned allowed) {
  constexpr std::pair<std::string_view, Place> kPlaces[] = {{"envelope_sender", kEnvelopeSender},
                                                            {"envelope_recipient", kEnvelopeRecipient},
                                                            {"header_sender", kHeaderSender},
                                                            {"header_recipient", kHeaderRecipient}};
  unsigned out = 0;
  for (const std::string_view word : split(words, ", \t\r\n")) {
    unsigned bit = 0;
    for (const auto& [text, place] : kPlaces) {
      if (iequals(word, text)) bit = place & allowed;
    }
    if (bit == 0) return fail(Errc::config, fmt::format("{}: bad class: {}", name, word));
    out |= bit;
  }
  return out;
}

Result<std::shared_ptr<const Cleanup>> Cleanup::make(const config::Params& params, std::shared_ptr<const Router> router,
                                                     map::TableSet& tables) {
  auto out = std::make_shared<Cleanup>();
  out->params_ = params;
  out->router_ = std::move(router);
  out->mapper_ = AddressMapper(params, out->router_);
  out->local_rules_ = {params.append_at_myorigin, params.append_dot_mydomain, params.swap_bangpath,
                       params.allow_percent_hack, params.myorigin, params.mydomain};
  out->remote_rules_ = out->local_rules_;
  out->remote_rules_.myorigin = out->remote_rules_.mydomain = params.remote_header_rewrite_domain;
  constexpr unsigned kAll = kEnvelopeSender | kEnvelopeRecipient | kHeaderSender | kHeaderRecipient;
  const struct { Mapping& mapping; const std::string& value; const char* classes_name; const std::string* classes; unsigned allowed; } rows[] = {
      {out->sender_canonical_, params.sender_canonical_maps, "sender_canonical_classes", &params.sender_canonical_classes, kEnvelopeSender | kHeaderSender},
      {out->recipient_canonical_, params.recipient_canonical_maps, "recipient_canonical_classes", &params.recipient_canonical_classes, kEnvelopeRecipient | kHeaderRecipient},
      {out->canonical_, params.canonical_maps, "canonical_classes", &params.canonical_classes, kAll},
      {out->virtual_, params.virtual_alias_maps, nullptr, nullptr, 0},
      {out->sender_bcc_, params.sender_bcc_maps, nullptr, nullptr, 0},
      {out->recipient_bcc_, params.recipient_bcc_maps, nullptr, nullptr, 0},
  };
  for (const auto& row : rows) {
    auto opened = map::Maps::open(tables, row.value);
    if (!opened) return fail(row.mapping.name, opened.error());
    row.mapping.maps = std::move(*opened);
    if (row.classes == nullptr) continue;
    const auto places = places_of(row.classes_name, *row.classes, row.allowed);
    if (!places) return tl::unexpected(places.error());
    row.mapping.places = *places;
  }
  out->log_ = log::Logger(params.syslog_name + "/cleanup");
  for (const std::string_view word : split(params.masquerade_domains, ", \t\r\n")) out->masquerade_domains_.emplace_back(word);
  auto exceptions = map::MatchList::open(tables, params.masquerade_exceptions, map::MatchList::Kind::string, false);
  if (!exceptions) return fail("masquerade_exceptions", exceptions.error());
  out->masquerade_exceptions_ = std::move(*exceptions);
  const auto places = places_of("masquerade_classes", params.masquerade_classes, kAll);
  if (!places) return tl::unexpected(places.error());
  out->masquerade_places_ = *places;
  for (const std::string_view word : split(params.propagate_unmatched_extensions, ", \t\r\n")) {
    if (iequals(word, "canonical")) out->propagate_canonical_ = true;
    else if (iequals(word, "virtual")) out->propagate_virtual_ = true;
    else if (!iequals(word, "alias") && !iequals(word, "forward") && !iequals(word, "include") && !iequals(word, "generic"))
      return fail(Errc::config, fmt::format("propagate_unmatched_extensions: bad word: {}", word));
  }
  return std::shared_ptr<const Cleanup>(std::move(out));
}

bool Cleanup::maps_anything() const {
  return !sender_canonical_.maps.empty() || !recipient_canonical_.maps.empty() || !canonical_.maps.empty() ||
         !virtual_.maps.empty() || !sender_bcc_.maps.empty() || !recipient_bcc_.maps.empty() ||
         !masquerade_domains_.empty() || !params_.always_bcc.empty();
}

Result<void> Cleanup::apply_canonical(const Mapping& mapping, std::string& address) const {
  for (int nesting = 0; nesting < kMaxCanonicalNesting; ++nesting) {
    auto found = mapper_.look_up(mapping, address, propagate_canonical_);
    if (!found) return tl::unexpected(found.error());
    if (found->empty()) return {};
    const bool itself = iequals(found->front(), address);
    address = std::move(found->front());
    if (itself) return {};
  }
  // As Postfix: wherever it stands now.
  log_.warning(fmt::format("unreasonable {} map nesting for {}", mapping.name, printable(short_name(address))));
  return {};
}

Result<void> Cleanup::masquerade(std::string& address) const {
  const std::size_t at = address.rfind('@');
  if (at == address.npos) return {};
  if (!params_.masquerade_exceptions.empty()) {
    const auto excepted = masquerade_exceptions_.matches(std::string_view(address).substr(0, at));
    if (!excepted) return fail(Errc::temporary, "masquerade_exceptions: " + excepted.error().context);
    if (*excepted) return {};
  }
  const std::string_view domain = std::string_view(address).substr(at + 1);
  for (std::string_view wanted : masquerade_domains_) {
    bool strip = true;
    for (; wanted.starts_with('!'); wanted.remove_prefix(1)) strip = !strip;
    if (wanted.empty()) continue;
    if (iequals(wanted, domain)) return {};
    if (domain.size() <= wanted.size() || !iends_with(domain, wanted) || domain[domain.size() - wanted.size() - 1] != '.')
      continue;
    if (strip) address.replace(at + 1, address.npos, lower(wanted));
    return {};
  }
  return {};
}

Result<void> Cleanup::apply_tables(std::string& address, Place place) const {
  if (address.empty()) return {};
  for (const Mapping* mapping : {&sender_canonical_, &recipient_canonical_, &canonical_}) {
    if (mapping->maps.empty() || (mapping->places & place) == 0) continue;
    if (auto done = apply_canonical(*mapping, address); !done) return done;
  }
  if (!masquerade_domains_.empty() && (masquerade_places_ & place) != 0) return masquerade(address);
  return {};
}

// cleanup's map1n: each result is looked up again, in place, until no table has it or it is its own alias.
Result<std::vector<std::string>> Cleanup::expand(std::string_view address) const {
  std::vector<std::string> out{std::string(address)};
  std::set<std::string> own_alias;
  const auto over = [&](const char* what) {
    return fail(Errc::too_large, fmt::format("unreasonable virtual_alias_maps {} for {}", what, short_name(address)));
  };
  const auto expansion_limit = static_cast<std::size_t>(params_.virtual_alias_expansion_limit);
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out.size() > expansion_limit) return over("expansion size");
    for (std::int64_t nesting = 0; own_alias.count(lower(out[i])) == 0; ++nesting) {
      if (nesting >= params_.virtual_alias_recursion_limit) return over("nesting");
      auto found = mapper_.look_up(virtual_, out[i], propagate_virtual_);
      if (!found) return tl::unexpected(found.error());
      if (found->empty()) break;
      const std::string before = lower(out[i]);
      for (std::size_t k = 0; k < found->size(); ++k) {
        std::string& one = (*found)[k];
        if (one.size() > static_cast<std::size_t>(params_.virtual_alias_address_length_limit)) return over("result");
        if (lower(one) == before) own_alias.insert(before);
        if (k == 0) out[i] = std::move(one);
        else out.push_back(std::move(one));
      }
    }
  }
  return out;
}

Result<std::string> Cleanup::sender(std::string_view address, bool map) const {
  std::string out = router_->rewrite(address);
  if (map) {
    if (auto done = apply_tables(out, kEnvelopeSender); !done) return tl::unexpected(done.error());
  }
  return out;
}

Result<void> Cleanup::envelope(mime::Envelope& envelope, bool map, bool copies) const {
  map = map && maps_anything();
  auto from = sender(envelope.sender, map);
  if (!from) return tl::unexpected(from.error());
  envelope.sender = std::move(*from);

  std::vector<mime::Recipient> given = std::exchange(envelope.recipients, {});
  std::vector<mime::Recipient>& out = envelope.recipients;
  std::set<std::string> seen;
  const bool alone = given.size() < 2 && !map;
  const auto limit = static_cast<std::size_t>(params_.duplicate_filter_limit);
  const auto emit = [&](mime::Recipient recipient) {
    if (!alone) {
      std::string key = recipient.address;
      if (params_.enable_original_recipient) {
        key = fmt::format("{}\n{}\n{}\n{}", recipient.orcpt, recipient.notify, recipient.original, recipient.address);
      }
      key = lower(key);
      if (seen.count(key) != 0) return;
      if (limit == 0 || seen.size() < limit) seen.insert(std::move(key));
    }
    out.push_back(std::move(recipient));
  };
  // One recipient, whether the client or a bcc table named it.
  const auto take = [&](mime::Recipient recipient) -> Result<void> {
    if (!params_.enable_original_recipient) recipient.original.clear();
    if (!map || virtual_.maps.empty()) {
      emit(std::move(recipient));
      return {};
    }
    auto addresses = expand(recipient.address);
    if (!addresses) return tl::unexpected(addresses.error());
    if ((recipient.notify & mime::kNotifySuccess) != 0 && (addresses->size() != 1 || addresses->front() != recipient.address)) {
      // RFC 3461 section 5.2.7.3: one "expanded" for the list, and no more reports of success beyond it.
      envelope.expanded.push_back(recipient);
      recipient.notify &= ~static_cast<unsigned>(mime::kNotifySuccess);
      if (recipient.notify == 0) recipient.notify = mime::kNotifyNever;
    }
    for (std::string& address : *addresses) {
      recipient.address = std::move(address);
      emit(recipient);
    }
    return {};
  };
  const auto copy_to = [&](std::string_view address) -> Result<void> {
    mime::Recipient copy;
    copy.notify = mime::kNotifyNever;
    copy.address = router_->rewrite(map::unquote_address(address));
    if (auto done = apply_tables(copy.address, kEnvelopeRecipient); !done) return done;
    copy.original = copy.address;
    return take(std::move(copy));
  };
  const auto copy_for = [&](const Mapping& mapping, const std::string& address) -> Result<void> {
    if (!map || !copies || mapping.maps.empty() || address.empty()) return {};
    auto found = mapper_.find(mapping, address, nullptr);
    if (!found) return tl::unexpected(found.error());
    if (!*found || (*found)->empty()) return {};
    return copy_to(**found);
  };

  if (auto done = copy_for(sender_bcc_, envelope.sender); !done) return done;
  for (mime::Recipient& recipient : given) {
    recipient.address = router_->rewrite(recipient.address);
    if (map) {
      if (auto done = apply_tables(recipient.address, kEnvelopeRecipient); !done) return done;
    }
    if (recipient.original.empty()) recipient.original = recipient.address;   // mail of our own
    const std::string address = map ? recipient.address : std::string();
    if (auto done = take(std::move(recipient)); !done) return done;
    if (auto done = copy_for(recipient_bcc_, address); !done) return done;
  }
  if (map && copies && !params_.always_bcc.empty()) return copy_to(params_.always_bcc);
  return {};
}

Result<void> Cleanup::headers(mime::Message& message, HeaderContext context, bool map) const {
  if (context == HeaderContext::none) return {};
  const RewriteRules& rules = context == HeaderContext::local ? local_rules_ : remote_rules_;
  const auto limit = static_cast<std::size_t>(params_.header_address_token_limit);
  for (mime::Header& header : message.headers) {
    const bool sender_field = is_sender_field(header.name());
    if (!sender_field && !is_recipient_field(header.name())) continue;
    const Place place = sender_field ? kHeaderSender : kHeaderRecipient;
    std::string value(header.raw_value());
    const auto changed = edit_addresses(value, header.text().size() - value.size(), limit, [&](const Tokens& tokens) -> Result<std::optional<std::string>> {
      Tokens rewritten = tokens;
      rewrite_tokens(rewritten, rules);
      std::string address = internal_text(rewritten);
      if (map) {
        if (auto done = apply_tables(address, place); !done) return tl::unexpected(done.error());
      }
      if (address == internal_text(tokens)) return std::optional<std::string>();
      return std::optional<std::string>(std::move(address));
    });
    if (!changed) return tl::unexpected(changed.error());
    if (!*changed) continue;
    const std::size_t name_length = header.name().size();
    const bool own = header.own_received;
    const std::string& text = header.text();
    header = mime::Header(text.substr(0, text.size() - header.raw_value().size()) + value, name_length);
    header.own_received = own;
  }
  return {};
}

}  // namespace millrace::rewrite
