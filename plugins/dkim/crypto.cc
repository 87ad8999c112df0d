// OpenSSL: see crypto.h.
#include "plugins/dkim/crypto.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "plugins/dkim/tags.h"

namespace millrace::dkim {
namespace {

constexpr int kMaxBits = 8192;

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

// What failed is told by the return value; nothing stays in the thread's queue.
struct QuietErrors {
  ~QuietErrors() { ERR_clear_error(); }
};

std::shared_ptr<EVP_PKEY> own(EVP_PKEY* key) { return {key, EVP_PKEY_free}; }

}  // namespace

Digest::Digest(bool sha1) : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
  if (!context_ || EVP_DigestInit_ex(context_.get(), sha1 ? EVP_sha1() : EVP_sha256(), nullptr) != 1) context_.reset();
}
void Digest::add(std::string_view bytes) {
  if (context_ && EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) context_.reset();
}
std::string Digest::finish() {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (!context_ || EVP_DigestFinal_ex(context_.get(), out, &size) != 1) return {};
  return std::string(reinterpret_cast<char*>(out), size);
}

std::optional<Key> Key::from_record(std::string_view der, Algorithm algorithm) {
  const QuietErrors quiet;
  Key out;
  const unsigned char* at = bytes_of(der);
  const long size = static_cast<long>(der.size());
  if (algorithm == Algorithm::ed25519_sha256) {
    if (der.size() == 32) out.key_ = own(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, at, der.size()));
  } else {
    out.key_ = own(d2i_PUBKEY(nullptr, &at, size));
    if (!out.key_) {   // RSAPublicKey by itself, as RFC 6376 section 3.6.1 reads
      at = bytes_of(der);
      out.key_ = own(d2i_PublicKey(EVP_PKEY_RSA, nullptr, &at, size));
    }
    if (out.key_ && EVP_PKEY_base_id(out.key_.get()) != EVP_PKEY_RSA) return {};
  }
  if (!out.key_ || EVP_PKEY_bits(out.key_.get()) > kMaxBits) return {};
  return out;
}

std::optional<Key> Key::from_private(std::string_view text, std::string& problem) {
  const QuietErrors quiet;
  Key out;
  if (text.find("-----BEGIN") != text.npos) {
    const std::shared_ptr<BIO> in(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
    // No pass phrase: nobody is there to be asked.
    out.key_ = own(PEM_read_bio_PrivateKey(in.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr));
  } else if (const auto seed = decode_base64(text); seed && seed->size() == 32) {
    out.key_ = own(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, bytes_of(*seed), seed->size()));
  }
  if (!out.key_) return problem = "holds no private key that can be read without a pass phrase", std::nullopt;
  const int type = EVP_PKEY_base_id(out.key_.get());
  if (type != EVP_PKEY_RSA && type != EVP_PKEY_ED25519) return problem = "holds a key that is neither RSA nor Ed25519", std::nullopt;
  if (type == EVP_PKEY_RSA && (out.bits() < 1024 || out.bits() > kMaxBits)) {
    return problem = "holds an RSA key of " + std::to_string(out.bits()) + " bits: 1024 to 8192 are for mail", std::nullopt;
  }
  return out;
}

unsigned Key::bits() const { return is_ed25519() ? 256 : static_cast<unsigned>(EVP_PKEY_bits(key_.get())); }
bool Key::is_ed25519() const { return EVP_PKEY_base_id(key_.get()) == EVP_PKEY_ED25519; }

bool Key::verify(std::string_view text, std::string_view signature, Algorithm algorithm) const {
  const QuietErrors quiet;
  const std::shared_ptr<EVP_MD_CTX> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::string hash;
  if (is_ed25519()) {
    Digest digest;
    digest.add(text);
    hash = digest.finish();
    text = hash;
  }
  const EVP_MD* const md = is_ed25519() ? nullptr : algorithm == Algorithm::rsa_sha1 ? EVP_sha1() : EVP_sha256();
  return context && EVP_DigestVerifyInit(context.get(), nullptr, md, nullptr, key_.get()) == 1 &&
         EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(text), text.size()) == 1;
}

std::optional<std::string> Key::sign(std::string_view text) const {
  const QuietErrors quiet;
  const std::shared_ptr<EVP_MD_CTX> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::string hash;
  if (is_ed25519()) {
    Digest digest;
    digest.add(text);
    hash = digest.finish();
    text = hash;
  }
  std::size_t size = 0;
  if (!context || EVP_DigestSignInit(context.get(), nullptr, is_ed25519() ? nullptr : EVP_sha256(), nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, bytes_of(text), text.size()) != 1) {
    return {};
  }
  std::string out(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, bytes_of(text), text.size()) != 1) return {};
  out.resize(size);
  return out;
}

std::string Key::pem() const {
  const std::shared_ptr<BIO> out(BIO_new(BIO_s_mem()), BIO_free);
  char* text = nullptr;
  if (!out || PEM_write_bio_PrivateKey(out.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) return {};
  const long size = BIO_get_mem_data(out.get(), &text);
  return std::string(text, static_cast<std::size_t>(size));
}

std::string Key::record() const {
  std::string bytes;
  if (is_ed25519()) {
    bytes.resize(32);
    std::size_t size = bytes.size();
    if (EVP_PKEY_get_raw_public_key(key_.get(), reinterpret_cast<unsigned char*>(bytes.data()), &size) != 1) return {};
    return "v=DKIM1; k=ed25519; p=" + encode_base64(bytes);
  }
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key_.get(), &der);
  if (size <= 0) return {};
  bytes.assign(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return "v=DKIM1; k=rsa; p=" + encode_base64(bytes);
}

}  // namespace millrace::dkim
