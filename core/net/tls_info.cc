#include "core/net/tls_info.h"

#include <fmt/format.h>
#include <openssl/x509v3.h>

#include <memory>

#include "core/base/strings.h"
#include "core/net/host_files.h"

namespace millrace::net {
namespace {

struct Free {
  void operator()(X509* p) const { X509_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
};

std::string short_name(int nid) {
  const char* name = OBJ_nid2sn(nid);
  return name == nullptr ? "" : name;
}

// "NAME (curve)" for elliptic curves, "NAME (bits)" for keys whose size says something, else their
// type.
std::string key_text(const EVP_PKEY* key, const char* rsa, const char* ec, const char* dh) {
  const int type = EVP_PKEY_get_base_id(key);
  if (type == EVP_PKEY_EC) {
    char curve[64] = "";
    std::size_t length = 0;
    EVP_PKEY_get_group_name(key, curve, sizeof curve, &length);
    return length == 0 ? ec : fmt::format("{} ({})", ec, curve);
  }
  if (type == EVP_PKEY_RSA || type == EVP_PKEY_RSA_PSS) {
    return fmt::format("{} ({} bits)", rsa, EVP_PKEY_get_bits(key));
  }
  if (type == EVP_PKEY_DH || type == EVP_PKEY_DHX)
    return fmt::format("{} ({} bits)", dh, EVP_PKEY_get_bits(key));
  return short_name(type);
}

// Only TLS 1.3 is described: before it, the cipher's name says these.
void describe_key_exchange(SSL* ssl, TlsInfo& info) {
  if (SSL_version(ssl) < TLS1_3_VERSION) return;
  EVP_PKEY* peer_key = nullptr;
  if (SSL_get_peer_tmp_key(ssl, &peer_key) == 1) {
    const std::unique_ptr<EVP_PKEY, Free> key(peer_key);
    info.key_exchange = key_text(key.get(), "RSA", "ECDHE", "DHE");
  }
  const bool server = SSL_is_server(ssl) == 1;
  int digest = NID_undef;
  if ((server ? SSL_get_signature_nid(ssl, &digest) : SSL_get_peer_signature_nid(ssl, &digest)) !=
      1)
    return;
  const X509* certificate = server ? SSL_get_certificate(ssl) : SSL_get0_peer_certificate(ssl);
  const EVP_PKEY* key = certificate == nullptr ? nullptr : X509_get0_pubkey(certificate);
  if (key == nullptr) return;
  info.signature = key_text(key, "RSA-PSS", "ECDSA", "DSA");
  if (digest != NID_undef) info.digest = short_name(digest);
}

// The last common name (else organization, for issuers); peer's text, made harmless.
std::string common_name(const X509_NAME* name, bool or_organization) {
  int at = -1;
  for (int i = -1; (i = X509_NAME_get_index_by_NID(name, NID_commonName, i)) >= 0;) at = i;
  if (at < 0 && or_organization) at = X509_NAME_get_index_by_NID(name, NID_organizationName, -1);
  if (at < 0) return "";
  unsigned char* text = nullptr;
  const int length =
      ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  if (length < 0) return "";
  const std::string_view bytes(reinterpret_cast<const char*>(text),
                               static_cast<std::size_t>(length));
  std::string out = bytes.find('\0') == std::string_view::npos ? printable(bytes) : "";
  OPENSSL_free(text);
  return out;
}

std::string fingerprint(const X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest, &size) != 1) return "";
  std::string out;
  for (unsigned i = 0; i < size; ++i) out += fmt::format("{}{:02X}", i == 0 ? "" : ":", digest[i]);
  return out;
}

bool name_matches(X509* certificate, const std::string& name) {
  if (name.empty()) return false;
  if (!canonical_address(name).empty()) return X509_check_ip_asc(certificate, name.c_str(), 0) == 1;
  return X509_check_host(certificate, name.data(), name.size(), 0, nullptr) == 1;
}

}  // namespace

TlsInfo describe_tls(SSL* ssl, const std::string& server_name) {
  TlsInfo info;
  info.protocol = SSL_get_version(ssl);
  if (const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl)) {
    info.cipher = SSL_CIPHER_get_name(cipher);
    info.bits = SSL_CIPHER_get_bits(cipher, &info.algorithm_bits);
  }
  describe_key_exchange(ssl, info);
  if (const char* sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name))
    info.sni = printable(sni);
  info.resumed = SSL_session_reused(ssl) == 1;
  const std::unique_ptr<X509, Free> peer(SSL_get1_peer_certificate(ssl));
  if (peer != nullptr) {
    info.peer_subject = common_name(X509_get_subject_name(peer.get()), false);
    info.peer_issuer = common_name(X509_get_issuer_name(peer.get()), true);
    info.peer_fingerprint = fingerprint(peer.get());
    info.peer_trusted = SSL_get_verify_result(ssl) == X509_V_OK;
    info.peer_matched = info.peer_trusted && name_matches(peer.get(), server_name);
  }
  return info;
}

}  // namespace millrace::net
