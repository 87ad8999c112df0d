// cleanup(8)'s address work on a message that is taken in: canonical mapping and masquerading of envelope and
// headers, blind copies, virtual alias expansion, duplicates.
//
// Promise: all or nothing.  A table that fails, or an expansion without end, is an error for the whole message;
// no recipient is left out.  Without tables nothing is looked up.  Does not decide where mail goes (Router).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/log.h"
#include "core/base/result.h"
#include "core/config/config.h"
#include "core/map/table.h"
#include "core/mime/envelope.h"
#include "core/mime/message.h"
#include "core/rewrite/address_map.h"
#include "core/rewrite/router.h"

namespace millrace::rewrite {

class Cleanup {
 public:
  // Whose header addresses are completed, and with which domain: $myorigin and $mydomain for our own clients,
  // $remote_header_rewrite_domain for others; `none` leaves headers alone.
  enum class HeaderContext { none, local, remote };

  // Errors: config.
  static Result<std::shared_ptr<const Cleanup>> make(const config::Params& params, std::shared_ptr<const Router> router,
                                                     map::TableSet& tables);

  // `map` false: addresses are completed, but no table is asked (receive_override_options).
  // Errors of all: temporary (a table failed), too_large (virtual alias expansion over a limit); the message must
  // not be accepted.  What was given may be half changed then.
  Result<std::string> sender(std::string_view address, bool map) const;
  // `copies` false: no blind copies (mail that is made here).
  Result<void> envelope(mime::Envelope& envelope, bool map, bool copies = true) const;
  Result<void> headers(mime::Message& message, HeaderContext context, bool map) const;

 private:
  enum Place : unsigned { kEnvelopeSender = 1, kEnvelopeRecipient = 2, kHeaderSender = 4, kHeaderRecipient = 8 };
  struct Mapping : NamedMaps {
    explicit Mapping(const char* name) : NamedMaps{name, {}} {}
    unsigned places = 0;
  };

  static Result<unsigned> places_of(const char* name, std::string_view words, unsigned allowed);
  Result<void> apply_canonical(const Mapping& mapping, std::string& address) const;
  Result<void> apply_tables(std::string& address, Place place) const;
  Result<void> masquerade(std::string& address) const;
  Result<std::vector<std::string>> expand(std::string_view address) const;
  bool maps_anything() const;

  config::Params params_;
  std::shared_ptr<const Router> router_;
  AddressMapper mapper_;
  RewriteRules local_rules_, remote_rules_;
  bool propagate_canonical_ = false, propagate_virtual_ = false;
  Mapping sender_canonical_{"sender_canonical_maps"}, recipient_canonical_{"recipient_canonical_maps"},
      canonical_{"canonical_maps"}, virtual_{"virtual_alias_maps"}, sender_bcc_{"sender_bcc_maps"},
      recipient_bcc_{"recipient_bcc_maps"};
  std::vector<std::string> masquerade_domains_;
  map::MatchList masquerade_exceptions_;
  unsigned masquerade_places_ = 0;
  log::Logger log_;
};

}  // namespace millrace::rewrite
