// Address rewriting and resolving: which class an address is in, and which transport takes it
// (trivial-rewrite(8), ADDRESS_CLASS_README).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/config/config.h"
#include "core/map/table.h"

namespace millrace::rewrite {

enum class AddressClass { local, virtual_alias, virtual_mailbox, relay, other };
const char* class_name(AddressClass address_class);   // "local", …, "default"

struct Route {
  AddressClass address_class = AddressClass::other;
  std::string recipient;    // rewritten, internal form
  std::string transport;    // "smtp": a master.cf service, or error / retry / discard
  std::string nexthop;      // "[127.0.0.1]:2525"; for error: the text
};

class Router {
 public:
  // Opens the tables that routing needs.  Errors: config.
  static Result<std::shared_ptr<Router>> make(std::shared_ptr<const config::Config> config,
                                              const config::Params& params, map::TableSet& tables);
  virtual ~Router() = default;
  // May resolve() and its kin wait for a server?  Then only fibers may ask; otherwise none suspends but unlisted().
  virtual bool may_suspend() const { return false; }
  // Internal form in and out: appends @myorigin and .mydomain where the parameters say so, strips a
  // final dot, resolves source routes and % and ! forms as the parameters say. Never fails.
  virtual std::string rewrite(std::string_view address) const = 0;
  // Errors: temporary (a table failed: defer).  `sender` for sender-dependent tables.  Bad syntax is the
  // transport "error".
  virtual Result<Route> resolve(std::string_view recipient, std::string_view sender) const = 0;
  // The same for an address verification probe, which goes by the address_verify_* parameters.
  virtual Result<Route> resolve_probe(std::string_view recipient, std::string_view sender) const {
    return resolve(recipient, sender);
  }
  // Would this address be "authorized" for relaying (permit_auth_destination)? Untrusted source routes never are.
  virtual Result<bool> is_auth_destination(std::string_view recipient) const = 0;
  virtual Result<bool> is_local_domain(std::string_view domain) const = 0;   // mydestination and own addresses
  // RFC 5321 domain syntax of user@domain after resolving; false for what Postfix calls "bad address syntax", a
  // leading hyphen included.  True for "" and for an address whose tables fail: asked again, they decide later.
  virtual bool is_deliverable_syntax(std::string_view address) const = 0;
  // Is this address unknown in its class? (reject_unlisted_recipient, reject_unlisted_sender) "" = known, else the
  // reply text: "User unknown in relay recipient table"; `code` receives the value of the class's code parameter.
  // A text that comes from routing (error, retry) may begin with an enhanced code of its own: "5.7.1 closed for
  // mail".  `other`: the other side of the transaction as far as it is known, for sender-dependent tables.
  enum class Role { recipient, sender };
  virtual Result<std::string> unlisted(std::string_view address, Role role, std::string_view other, int* code) const = 0;
};

// quote_822_local(3) / unquote_822_local(3): internal form <-> external (quoted) form, local part only.
std::string quote_local(std::string_view internal_address);
std::string unquote_local(std::string_view external_address);

}  // namespace millrace::rewrite
