// The keys and rules of a signer: what key_table, signing_table and their key files say, read once.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "plugins/dkim/settings.h"
#include "plugins/dkim/tables.h"

namespace millrace::dkim {

// Gives a file's text; "" and why not.
using FileReader = std::function<std::string(const std::string& path, bool is_private, std::string& problem)>;

// A signature to be made.
struct Signer {
  const Key* key;
  std::string domain, selector, identity;
};

class KeyRing {
 public:
  // Or what is wrong; that never holds any of a key.
  static std::variant<KeyRing, std::string> load(const SignSettings& settings, const FileReader& read);
  bool empty() const { return keys_.empty(); }
  std::size_t size() const { return keys_.size(); }
  std::vector<Signer> find(const Author& author) const;

 private:
  struct Loaded {
    KeyEntry entry;
    Key key;
  };
  bool all_matches_ = false;
  std::map<std::string, Loaded> keys_;   // by name
  SigningTable signing_;
};

// A regular file that nobody but its owner (root or us) may read, when `is_private`.
std::string read_file(const std::string& path, bool is_private, std::string& problem);

}  // namespace millrace::dkim
