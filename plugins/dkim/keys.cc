// Keys of a signer: see keys.h.
#include "plugins/dkim/keys.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "plugins/dkim/tags.h"

namespace millrace::dkim {
namespace {

constexpr std::size_t kMaxKeyFile = 64 * 1024, kMaxTable = 16 << 20;

struct Descriptor {
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  int fd;
};

std::string with_domain(std::string_view text, const std::string& domain) {
  std::string out;
  for (const char c : text) c == '%' ? out += domain : out += c;
  return out;
}

}  // namespace

std::string read_file(const std::string& path, bool is_private, std::string& problem) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat status {};
  if (file.fd < 0 || ::fstat(file.fd, &status) != 0) return problem = path + ": " + std::strerror(errno), std::string();
  if (!S_ISREG(status.st_mode)) return problem = path + ": is no regular file", std::string();
  if (is_private && (status.st_mode & 077) != 0) {
    return problem = path + ": a private key that others may read or write: set its mode to 0600", std::string();
  }
  if (is_private && status.st_uid != 0 && status.st_uid != ::geteuid()) {
    return problem = path + ": a private key must belong to root or to the user that signs", std::string();
  }
  std::string out;
  char piece[4096];
  for (;;) {
    const ssize_t n = ::read(file.fd, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return problem = path + ": " + std::strerror(errno), std::string();
    if (n == 0) break;
    out.append(piece, static_cast<std::size_t>(n));
    if (out.size() > (is_private ? kMaxKeyFile : kMaxTable)) return problem = path + ": is too large", std::string();
  }
  if (out.empty()) problem = path + ": is empty";
  return out;
}

std::variant<KeyRing, std::string> KeyRing::load(const SignSettings& settings, const FileReader& read) {
  KeyRing out;
  out.all_matches_ = settings.all_matches;
  KeyTable table;
  std::string problem;
  if (!settings.key_table.empty()) {
    const std::string text = read(settings.key_table, false, problem);
    if (!problem.empty()) return "key_table: " + problem;
    auto parsed = parse_key_table(text);
    if (const auto* const wrong = std::get_if<std::string>(&parsed)) return settings.key_table + ", " + *wrong;
    table = std::move(std::get<KeyTable>(parsed));
    std::string_view path = settings.signing_table;
    const bool wildcards = path.starts_with("refile:");
    if (const std::size_t colon = path.find(':'); colon != path.npos && path.front() != '/') {
      if (!wildcards && !path.starts_with("file:")) return "signing_table: \"" + settings.signing_table + "\": a path, file:PATH or refile:PATH";
      path.remove_prefix(colon + 1);
    }
    const std::string rules = read(std::string(path), false, problem);
    if (!problem.empty()) return "signing_table: " + problem;
    auto signing = SigningTable::parse(rules, wildcards);
    if (const auto* const wrong = std::get_if<std::string>(&signing)) return std::string(path) + ", " + *wrong;
    out.signing_ = std::move(std::get<SigningTable>(signing));
    for (const SigningEntry& entry : out.signing_.entries()) {
      if (entry.key != "%" && table.count(entry.key) == 0) return std::string(path) + ": the key \"" + entry.key + "\" is not in the key table";
    }
  } else if (!settings.key_file.empty()) {
    std::string rules;
    for (const std::string& domain : settings.domains) rules += domain + " " + domain + "\n";
    for (const std::string& domain : settings.domains) table[domain] = {domain, settings.selector, settings.key_file};
    out.signing_ = std::move(std::get<SigningTable>(SigningTable::parse(rules, false)));
  }
  for (auto& [name, entry] : table) {
    std::string text = read(entry.path, true, problem);
    if (!problem.empty()) return problem;
    auto key = Key::from_private(text, problem);
    ::explicit_bzero(text.data(), text.size());
    if (!key) return entry.path + ": " + problem;
    out.keys_.emplace(name, Loaded{entry, std::move(*key)});
  }
  return out;
}

std::vector<Signer> KeyRing::find(const Author& author) const {
  std::vector<Signer> out;
  for (const SigningEntry* const entry : signing_.find(author)) {
    const auto found = keys_.find(entry->key == "%" ? author.domain : entry->key);
    if (found == keys_.end()) continue;
    const KeyEntry& key = found->second.entry;
    Signer one{&found->second.key, key.domain == "%" ? author.domain : key.domain, key.selector, with_domain(entry->identity, author.domain)};
    // An identity outside d= would make the signature invalid; opendkim leaves it out too.
    if (!one.identity.empty()) {
      if (one.identity.find('@') == std::string::npos) one.identity.insert(0, 1, '@');
      const std::string of = lower(one.identity.substr(one.identity.rfind('@') + 1)), domain = lower(one.domain);
      const bool below = of.size() > domain.size() && of.ends_with(domain) && of[of.size() - domain.size() - 1] == '.';
      if (of != domain && !below) one.identity.clear();
    }
    out.push_back(std::move(one));
    if (!all_matches_) break;
  }
  return out;
}

}  // namespace millrace::dkim
