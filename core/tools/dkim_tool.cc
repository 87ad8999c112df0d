// Keys for DKIM: see dkim_tool.h.  The private key goes into its file and nowhere else.
#include "core/tools/dkim_tool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <getopt.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "core/base/strings.h"

namespace millrace::tools {
namespace {

constexpr std::size_t kLongestString = 255;
constexpr int kLeastBits = 1024, kMostBits = 8192;   // what verifiers take; RFC 8301 asks for 2048

using KeyPointer = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

int usage() {
  fmt::print(stderr, "usage: millrace dkim genkey -d DOMAIN -s SELECTOR [-b BITS | --ed25519] [-D DIR]\n");
  return 2;
}

int failed(const std::string& what) {
  fmt::print(stderr, "millrace dkim: {}\n", what);
  return 1;
}

// Dot-separated labels of letters, digits, "-" and "_".
bool is_dns_name(std::string_view text) {
  std::size_t label = 0;
  for (const char c : text) {
    if (c == '.' ? label == 0 : !is_alnum(c) && c != '-' && c != '_') return false;
    label = c == '.' ? 0 : label + 1;
    if (label > 63) return false;
  }
  return label > 0 && text.size() <= 253;
}

std::string base64(const unsigned char* bytes, std::size_t size) {
  std::string out(4 * ((size + 2) / 3) + 1, '\0');
  out.resize(static_cast<std::size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes, static_cast<int>(size))));
  return out;
}

std::string record_of(EVP_PKEY* key, bool ed25519) {
  if (ed25519) {   // RFC 8463 section 4: the 32 octets themselves
    unsigned char raw[32];
    std::size_t size = sizeof raw;
    return EVP_PKEY_get_raw_public_key(key, raw, &size) == 1 ? "v=DKIM1; k=ed25519; p=" + base64(raw, size) : "";
  }
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  const std::string out = size > 0 ? "v=DKIM1; k=rsa; p=" + base64(der, static_cast<std::size_t>(size)) : "";
  OPENSSL_free(der);
  return out;
}

// Created with its mode; gone again when it could not be written whole.  "" or why not.
std::string write_key(const std::string& path, EVP_PKEY* key) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return fmt::format("{}: {}", path, std::strerror(errno));
  std::FILE* const file = ::fdopen(fd, "w");
  bool good = file != nullptr && PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr) == 1;
  good = good && std::fflush(file) == 0 && ::fsync(fd) == 0;
  if (file != nullptr) good = std::fclose(file) == 0 && good;
  else ::close(fd);
  if (good) return {};
  ::unlink(path.c_str());
  return path + ": the key cannot be written";
}

int genkey(int argc, char** argv) {
  static const option kLong[] = {{"domain", required_argument, nullptr, 'd'}, {"selector", required_argument, nullptr, 's'},
                                 {"bits", required_argument, nullptr, 'b'},   {"directory", required_argument, nullptr, 'D'},
                                 {"ed25519", no_argument, nullptr, 'e'},      {nullptr, 0, nullptr, 0}};
  std::string domain, selector, directory = ".";
  int bits = 0;
  bool ed25519 = false;
  optind = 1;
  for (int c; (c = ::getopt_long(argc, argv, "d:s:b:D:", kLong, nullptr)) != -1;) {
    if (c == 'd') domain = optarg;
    else if (c == 's') selector = optarg;
    else if (c == 'D') directory = optarg;
    else if (c == 'e') ed25519 = true;
    else if (c != 'b') return usage();
    else if (const std::string_view text = optarg; text.empty() || text.size() > 5 || !std::all_of(text.begin(), text.end(), is_digit)) return usage();
    else bits = std::stoi(optarg);
  }
  if (optind != argc || domain.empty() || selector.empty() || (ed25519 && bits != 0)) return usage();
  if (domain.ends_with('.')) domain.pop_back();
  if (!is_dns_name(domain)) return failed(fmt::format("\"{}\" is no domain", printable(domain)));
  if (!is_dns_name(selector)) return failed(fmt::format("\"{}\" is no selector", printable(selector)));
  if (selector.size() + domain.size() > 253 - std::strlen("._domainkey.")) return failed("selector and domain are too long for DNS");
  if (bits == 0) bits = 2048;
  if (bits < kLeastBits || bits > kMostBits) return failed(fmt::format("{} bits: {} to {} are for mail", bits, kLeastBits, kMostBits));
  const KeyPointer key(ed25519 ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519") : EVP_RSA_gen(static_cast<unsigned>(bits)), EVP_PKEY_free);
  const std::string record = key ? record_of(key.get(), ed25519) : "";
  if (record.empty()) return failed("OpenSSL makes no key");
  if (const std::string problem = write_key(directory + "/" + selector + ".private", key.get()); !problem.empty()) return failed(problem);
  fmt::print("{}", zone_text(domain, selector, record));
  return 0;
}

}  // namespace

std::string zone_text(std::string_view domain, std::string_view selector, std::string_view record) {
  std::string out = fmt::format("{}._domainkey.{}.\tIN\tTXT\t(", selector, domain);
  const std::size_t key = record.find("p=");
  // The tags are a string of their own, for people to read.
  for (std::size_t at = 0; at < record.size();) {
    std::size_t size = std::min(kLongestString, record.size() - at);
    if (at == 0 && key != record.npos && key > 0 && record.size() > kLongestString) size = std::min(size, key);
    out += fmt::format("{}\"{}\"", at == 0 ? " " : "\n\t", record.substr(at, size));
    at += size;
  }
  return out + " )\n";
}

int dkim_main(int argc, char** argv, const std::string&) {
  if (argc < 2 || std::string_view(argv[1]) != "genkey") return usage();
  return genkey(argc - 1, argv + 1);
}

}  // namespace millrace::tools
