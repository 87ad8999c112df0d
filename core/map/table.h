// Lookup tables, type:name.  Found, not found and error are three answers: turning an error into "not
// found" accepts or loses mail.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace millrace::map {

using Lookup = Result<std::optional<std::string>>;  // error: Errc::temporary (or config) with the table's name

class Table {
 public:
  virtual ~Table() = default;
  // [fiber, when it may suspend; else anywhere].  Keys of indexed tables are folded to lower case here.  The caller's
  // `key` must live until it returns.
  virtual Lookup find(std::string_view key) = 0;
  // Does a look-up wait for others (a server, a name service)?  Outside of fibers it is an error on a loop.
  virtual bool may_suspend() const { return false; }
  // Indexed tables (hash, lmdb, inline, …) are asked for partial keys (domains, networks); patterns
  // (regexp, pcre, cidr, static) see the full key once.  access(5), "FULL / PARTIAL KEYS".
  virtual bool is_pattern() const = 0;
  virtual const std::string& name() const = 0;  // "hash:/etc/postfix/access"
  // All of it, sorted; nullopt: a table that cannot be listed, or is listed in another way (read_lmdb()).
  virtual std::optional<std::map<std::string, std::string>> entries() const { return {}; }
};

struct TableOptions {
  std::string config_directory{};   // for relative names
  // Where a warning about a bad line or a failed server goes: "file, line 3: …".
  std::function<void(const std::string&)> warn{};
  std::string queue_directory{};    // for relative paths of sockets; "" leaves them as they are
  // What proxy: may open, expanded; nullopt: anything.
  std::optional<std::string> proxy_read_maps{};
  // Who proxymap(8) would be: opened with these rights when we are root.
  struct Proxy { unsigned uid = 0, gid = 0; };
  std::optional<Proxy> proxy_owner{};
  bool fold = true;   // keys of indexed tables to lower case
};

// Opens tables once and shares them.  Not thread-safe; one per process (fronts, queue) and per tool.
class TableSet {
 public:
  explicit TableSet(TableOptions options);
  ~TableSet();
  // "hash:/etc/postfix/access", "pcre:{{/x/ y}}", "inline:{ a=b }".  Errc::config for an unknown type,
  // a missing file or a name that cannot be parsed, naming it.
  Result<std::shared_ptr<Table>> open(std::string_view type_and_name);
  // The same for alias_maps and alias_database: the text of a table without FILE.lmdb is read as aliases(5).
  Result<std::shared_ptr<Table>> open_aliases(std::string_view type_and_name);
  // From now on socket paths are those of a process chrooted there ("": of none).
  void set_chroot(std::string_view directory);
  // Reopens LMDB files that changed; to be called once a second. [loop]
  void refresh();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What this build makes of a table type's name.  `elsewhere`: a type of Postfix's that is not here (nis, ldap, …), for callers that only warn when a default names it (nis:mail.aliases).
enum class TypeStatus { supported, elsewhere, unknown };
TypeStatus type_status(std::string_view type);
// "hash:/etc/postfix/access" -> "hash"; "" when there is no type.
std::string_view table_type(std::string_view type_and_name);

// Is this a table reference rather than a word? ("type:name", with braces understood.)
bool looks_like_table(std::string_view word);

// Splits a list parameter at commas and white space, { } groups kept whole (with their braces).
std::vector<std::string> split_list(std::string_view text);

// owner_request_special of this process; true until it is set.
void set_owner_request_special(bool special);

// Cuts a recipient's local part at its delimiter: "user+ext" -> ("user", "+ext").  No cut (and "" as the
// second) for owner- and -request names, mailer-daemon, postmaster, double-bounce and a delimiter up front.
// (The names of lists' helpers: while owner_request_special holds.)
std::pair<std::string_view, std::string_view> split_extension(std::string_view local_part, std::string_view delimiters);

// Several tables in order, as `transport_maps` and friends hold: the first that finds wins, the first
// error ends the search.
class Maps {
 public:
  Maps() = default;
  static Result<Maps> open(TableSet& tables, std::string_view parameter_value);
  explicit Maps(std::vector<std::shared_ptr<Table>> tables) : tables_(std::move(tables)) {}
  Lookup find(std::string_view key) const;
  // The same in indexed tables only, for parts of an address or name.
  Lookup find_partial(std::string_view key) const;
  // mail_addr_find(3) order: user+ext@dom, user@dom, user+ext and user when `is_local(domain)`, @dom.
  // Quoted form first, then the internal one.  `extension` receives "+ext" when a key without it matched
  // (but not for "@dom"), else "".
  Lookup find_address(std::string_view address, std::string_view recipient_delimiter,
                      const std::function<bool(std::string_view)>& is_local, std::string* extension) const;
  const std::vector<std::shared_ptr<Table>>& tables() const { return tables_; }
  bool empty() const { return tables_.empty(); }
  bool may_suspend() const;

 private:
  enum class Keys { all, indexed };
  Lookup search(std::string_view key, Keys keys) const;
  Lookup search_forms(std::string_view internal_key, Keys keys) const;
  std::vector<std::shared_ptr<Table>> tables_;
};

// A list parameter of names or addresses: patterns, "!pattern", "/file", "type:table"; first match wins.
class MatchList {
 public:
  enum class Kind { domain, address, string };   // mydestination; mynetworks; plain words
  // parent_matches: "example.com" also matches sub.example.com (parent_domain_matches_subdomains);
  // otherwise ".example.com" does.
  static Result<MatchList> open(TableSet& tables, std::string_view value, Kind kind, bool parent_matches);
  Result<bool> matches(std::string_view domain_or_address) const;
  // For lists that take host names and addresses alike (debug_peer_list, xclient hosts).
  Result<bool> matches_host(std::string_view name, std::string_view address) const;
  bool empty() const;
  bool may_suspend() const;
  MatchList();
  ~MatchList();
  MatchList(MatchList&&) noexcept;
  MatchList& operator=(MatchList&&) noexcept;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace millrace::map
