#include "core/net/tls_context.h"

#include <cstring>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <vector>

#include "core/net/tls_policy.h"

namespace millrace::net {
namespace {

// tls_eecdh_auto_curves of Postfix 3.7.
constexpr const char* kGroups = "X25519:X448:prime256v1:secp521r1:secp384r1";

struct Free {
  void operator()(X509* p) const { X509_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(STACK_OF(X509) * p) const { sk_X509_pop_free(p, X509_free); }
};
using Certificate = std::unique_ptr<X509, Free>;
using Key = std::unique_ptr<EVP_PKEY, Free>;

tl::unexpected<Error> config_failure(const std::string& what) {
  const std::string reason = openssl_reason();
  return fail(Errc::config, reason.empty() ? what : what + ": " + reason);
}

// PEM objects of one file in order: a private key, then the certificate it belongs to and those
// above it; then, maybe, the next key (another algorithm).
Result<void> load_chain_file(SSL_CTX* ctx, const std::string& path) {
  const std::unique_ptr<BIO, Free> file(BIO_new_file(path.c_str(), "r"));
  if (file == nullptr) return config_failure(path);
  Key key;
  Certificate leaf;
  std::unique_ptr<STACK_OF(X509), Free> above;
  bool any = false;
  const auto store = [&]() -> bool {
    if (key == nullptr && leaf == nullptr) return true;
    if (key == nullptr || leaf == nullptr) return false;
    any = SSL_CTX_use_cert_and_key(ctx, leaf.get(), key.get(), above.get(), 1) == 1;
    key.reset();
    leaf.reset();
    above.reset();
    return any;
  };
  char *name = nullptr, *header = nullptr;
  unsigned char* data = nullptr;
  long length = 0;
  bool good = true;
  while (good && PEM_read_bio(file.get(), &name, &header, &data, &length) == 1) {
    const std::string kind = name;
    const unsigned char* in = data;
    if (kind.find("PRIVATE KEY") != std::string::npos) {
      good = store() && kind != "ENCRYPTED PRIVATE KEY";
      if (good) key.reset(d2i_AutoPrivateKey(nullptr, &in, length));
      good = good && key != nullptr;
    } else if (kind == "CERTIFICATE" || kind == "X509 CERTIFICATE" ||
               kind == "TRUSTED CERTIFICATE") {
      Certificate certificate(kind[0] == 'T' ? d2i_X509_AUX(nullptr, &in, length)
                                             : d2i_X509(nullptr, &in, length));
      good = certificate != nullptr && key != nullptr;
      if (good && leaf == nullptr) {
        leaf = std::move(certificate);
      } else if (good) {
        if (above == nullptr) above.reset(sk_X509_new_null());
        good = sk_X509_push(above.get(), certificate.get()) > 0;
        if (good) (void)certificate.release();
      }
    }  // parameters and the like stand between them harmlessly
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_clear_free(data, static_cast<std::size_t>(length));
  }
  const unsigned long last = ERR_peek_last_error();
  if (ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE)
    ERR_clear_error();
  if (!good || !store() || !any)
    return config_failure(path + ": not a private key followed by its certificates");
  return {};
}

Result<void> load_own(SSL_CTX* ctx, const TlsOptions& options) {
  for (const std::string& path : options.chain_files) {
    if (auto loaded = load_chain_file(ctx, path); !loaded) return loaded;
  }
  if (!options.chain_files.empty()) return {};
  if (options.cert_file.empty()) {
    if (options.server) return fail(Errc::config, "no certificate for the TLS server");
    return {};
  }
  const std::string& key = options.key_file.empty() ? options.cert_file : options.key_file;
  if (SSL_CTX_use_certificate_chain_file(ctx, options.cert_file.c_str()) != 1) {
    return config_failure(options.cert_file);
  }
  if (SSL_CTX_use_PrivateKey_file(ctx, key.c_str(), SSL_FILETYPE_PEM) != 1)
    return config_failure(key);
  if (SSL_CTX_check_private_key(ctx) != 1) return config_failure(key);
  return {};
}

Result<void> load_trust(SSL_CTX* ctx, const TlsOptions& options) {
  const char* file = options.ca_file.empty() ? nullptr : options.ca_file.c_str();
  const char* path = options.ca_path.empty() ? nullptr : options.ca_path.c_str();
  if (file == nullptr && path == nullptr) return {};
  if (SSL_CTX_load_verify_locations(ctx, file, path) != 1) {
    return config_failure(file != nullptr ? options.ca_file : options.ca_path);
  }
  if (options.server && options.ask_client_certificate && file != nullptr) {
    SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(file));
  }
  return {};
}

Result<void> set_policy(SSL_CTX* ctx, const TlsOptions& options) {
  const auto versions = parse_tls_versions(options.protocols);
  if (!versions) return fail(Errc::config, "invalid TLS protocol list: " + options.protocols);
  static constexpr std::uint64_t kNo[] = {
      0, SSL_OP_NO_SSLv3, SSL_OP_NO_TLSv1, SSL_OP_NO_TLSv1_1, SSL_OP_NO_TLSv1_2, SSL_OP_NO_TLSv1_3};
  std::uint64_t off = 0;
  for (std::size_t i = 0; i < std::size(kNo); ++i) {
    if ((versions->excluded >> i & 1u) != 0) off |= kNo[i];
  }
  SSL_CTX_set_options(ctx, off);
  if (SSL_CTX_set_min_proto_version(ctx, versions->least) != 1 ||
      SSL_CTX_set_max_proto_version(ctx, versions->most) != 1) {
    return config_failure("unsupported TLS protocol list: " + options.protocols);
  }
  // Without a certificate there is nothing to verify.
  const bool needs_certificate =
      options.server ? options.ask_client_certificate || options.require_client_certificate
                     : options.verify_peer;
  const auto ciphers = tls_cipher_list(
      options.ciphers, options.exclude_ciphers + (needs_certificate ? " aNULL" : ""));
  if (!ciphers)
    return fail(Errc::config, "invalid TLS cipher grade or exclusion: " + options.ciphers);
  // As Postfix: opportunistic TLS with a weak peer beats clear text, so OpenSSL's own floor is off.
  SSL_CTX_set_security_level(ctx, 0);
  if (SSL_CTX_set_cipher_list(ctx, ciphers->c_str()) != 1)
    return config_failure("no TLS ciphers: " + *ciphers);
  if (SSL_CTX_set1_groups_list(ctx, kGroups) != 1) return config_failure("TLS groups");
  return {};
}

}  // namespace

std::string openssl_reason() {
  // The first entry is a failed system call where there was one; the later ones only say that it failed.
  const unsigned long first = ERR_peek_error(), code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return "";
  if (ERR_SYSTEM_ERROR(first)) return std::strerror(ERR_GET_REASON(first));
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : fmt::format("OpenSSL error {:x}", code);
}

Result<std::shared_ptr<TlsContext>> TlsContext::make(const TlsOptions& options) {
  ERR_clear_error();
  auto out = std::make_shared<OpensslContext>(options);
  out->ctx = SSL_CTX_new(options.server ? TLS_server_method() : TLS_client_method());
  if (out->ctx == nullptr) return config_failure("TLS");
  SSL_CTX* ctx = out->ctx;
  SSL_CTX_set_options(
      ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_dh_auto(ctx, 1);
  // Resumption is by tickets alone: a cache would be memory, and of one process.
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  static constexpr unsigned char kSessionContext[] = "millrace";
  SSL_CTX_set_session_id_context(ctx, kSessionContext, sizeof kSessionContext - 1);
  if (auto set = set_policy(ctx, options); !set) return tl::unexpected(set.error());
  if (auto loaded = load_own(ctx, options); !loaded) return tl::unexpected(loaded.error());
  if (auto loaded = load_trust(ctx, options); !loaded) return tl::unexpected(loaded.error());

  int verify = SSL_VERIFY_NONE;
  if (!options.server || options.ask_client_certificate || options.require_client_certificate) {
    verify = SSL_VERIFY_PEER;
    if (options.server) verify |= SSL_VERIFY_CLIENT_ONCE;
  }
  if (options.require_client_certificate) verify |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  // Goes on whatever it finds: what the chain is worth is in TlsInfo, and whose matter it is
  // decides.
  SSL_CTX_set_verify(ctx, verify, [](int, X509_STORE_CTX*) { return 1; });
  return std::shared_ptr<TlsContext>(std::move(out));
}

}  // namespace millrace::net
