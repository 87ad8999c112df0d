// TLS settings for one side, built at start (files are read by the master or before privileges are
// dropped) and shared by all sessions of a process.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace millrace::net {

struct TlsOptions {
  bool server = true;
  std::vector<std::string> chain_files;  // PEM, key first (smtpd_tls_chain_files)
  std::string cert_file, key_file;       // used when chain_files is empty
  std::string ca_file, ca_path;
  std::string protocols = ">=TLSv1";  // Postfix syntax: ">=TLSv1.2", "!SSLv2, !SSLv3", "<=TLSv1.2"
  std::string ciphers = "medium";     // export low medium high null
  std::string exclude_ciphers;
  bool ask_client_certificate = false, require_client_certificate = false;
  bool verify_peer = false;  // client side: fail the handshake unless trusted and matched
};

class TlsContext {
 public:
  // Errors: config, naming the file.
  static Result<std::shared_ptr<TlsContext>> make(const TlsOptions& options);
  virtual ~TlsContext() = default;
};

}  // namespace millrace::net
