// Certificates made by the test that needs them: PEM files, the private key first.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace millrace::test {

class TestCertificate {
 public:
  enum class Kind { rsa, ec, ed25519 };

  // Self-signed, or signed by `issuer`.
  explicit TestCertificate(const std::string& name, Kind kind = Kind::ec,
                           const TestCertificate* issuer = nullptr)
      : key_(make_key(kind)), certificate_(X509_new()) {
    static long serial = 0;
    X509_set_version(certificate_, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate_), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate_), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate_), 3600);
    X509_set_pubkey(certificate_, key_);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate_), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509* const signer = issuer == nullptr ? certificate_ : issuer->certificate_;
    X509_set_issuer_name(certificate_, X509_get_subject_name(signer));
    extend(NID_subject_alt_name, "DNS:" + name, signer);
    if (issuer == nullptr) extend(NID_basic_constraints, "critical,CA:TRUE", signer);
    X509_sign(certificate_, issuer == nullptr ? key_ : issuer->key_,
              kind == Kind::ed25519 ? nullptr : EVP_sha256());
    static int count = 0;
    path_ = "/tmp/millrace-test-certificate-" + std::to_string(getpid()) + "-" +
            std::to_string(++count);
    std::FILE* file = std::fopen(path_.c_str(), "w");
    PEM_write_PrivateKey(file, key_, nullptr, nullptr, 0, nullptr, nullptr);
    PEM_write_X509(file, certificate_);
    if (issuer != nullptr) PEM_write_X509(file, issuer->certificate_);
    std::fclose(file);
  }
  ~TestCertificate() {
    ::unlink(path_.c_str());
    X509_free(certificate_);
    EVP_PKEY_free(key_);
  }
  TestCertificate(const TestCertificate&) = delete;

  const std::string& path() const { return path_; }

 private:
  static EVP_PKEY* make_key(Kind kind) {
    if (kind == Kind::rsa) return EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048});
    if (kind == Kind::ec) return EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "prime256v1");
    return EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  }

  void extend(int nid, const std::string& value, X509* issuer) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate_, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    X509_add_ext(certificate_, extension, -1);
    X509_EXTENSION_free(extension);
  }

  EVP_PKEY* key_;
  X509* certificate_;
  std::string path_;
};

}  // namespace millrace::test
