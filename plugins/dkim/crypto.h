// The few things asked of OpenSSL: hashes, and keys that verify and sign.  Keys are parsed once.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "plugins/dkim/signature.h"

struct evp_md_ctx_st;
struct evp_pkey_st;

namespace millrace::dkim {

class Digest {
 public:
  explicit Digest(bool sha1 = false);
  void add(std::string_view bytes);
  std::string finish();   // "" when OpenSSL could not

 private:
  std::shared_ptr<evp_md_ctx_st> context_;
};

class Key {
 public:
  // What a key record's p= holds; nullopt: no such key, or a larger one than anybody needs (8192 bits).
  static std::optional<Key> from_record(std::string_view der, Algorithm algorithm);
  // A private key: PEM without a pass phrase, or an Ed25519 seed in base64.  `problem` never holds any of it.
  static std::optional<Key> from_private(std::string_view text, std::string& problem);

  unsigned bits() const;
  bool is_ed25519() const;
  // Of the text to be signed, which for Ed25519 is hashed first (RFC 8463 section 3).
  bool verify(std::string_view text, std::string_view signature, Algorithm algorithm) const;
  std::optional<std::string> sign(std::string_view text) const;
  std::string pem() const;           // of a private key, for the library that wants it so
  std::string record() const;        // "v=DKIM1; k=rsa; p=…"

 private:
  std::shared_ptr<evp_pkey_st> key_;
};

}  // namespace millrace::dkim
