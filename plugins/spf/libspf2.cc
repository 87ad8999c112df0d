// libspf2 over our resolver: see libspf2.h.
#include "plugins/spf/libspf2.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <memory>

extern "C" {
#include <spf2/spf.h>
#include <spf2/spf_dns.h>
}

namespace millrace::spf {
namespace {

template <typename T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

bool is_name(std::string_view name) {
  if (name.empty() || name.size() > 253 || name.find("..") != name.npos || name[0] == '.') return false;
  std::size_t label = 0;
  for (const char c : name) {
    label = c == '.' ? 0 : label + 1;
    if (label > 63 || static_cast<unsigned char>(c) <= ' ' || static_cast<unsigned char>(c) > 126) return false;
  }
  return true;
}

// One value into its place; false: it is none of that type.
bool put(SPF_dns_rr_t& answer, int at, ns_type type, std::string value) {
  std::replace(value.begin(), value.end(), '\0', '?');   // the library counts on C strings
  const std::size_t size = std::max(value.size() + 1, sizeof(SPF_dns_rr_data_t));
  if (SPF_dns_rr_buf_realloc(&answer, at, size) != SPF_E_SUCCESS) return false;
  if (type == ns_t_a) return inet_pton(AF_INET, value.c_str(), &answer.rr[at]->a) == 1;
  if (type == ns_t_aaaa) return inet_pton(AF_INET6, value.c_str(), &answer.rr[at]->aaaa) == 1;
  std::memcpy(answer.rr[at], value.c_str(), value.size() + 1);
  return true;
}

SPF_dns_rr_t* look_up(SPF_dns_server_t* server, const char* domain, ns_type type, int) {
  const std::string name = domain == nullptr ? "" : domain;
  const auto nothing = [&](SPF_dns_stat_t why) { return SPF_dns_rr_new_init(server, name.c_str(), type, 0, why); };
  RecordType wanted;
  switch (static_cast<int>(type)) {
    case ns_t_a: wanted = RecordType::a; break;
    case ns_t_aaaa: wanted = RecordType::aaaa; break;
    case ns_t_mx: wanted = RecordType::mx; break;
    case ns_t_ptr: wanted = RecordType::ptr; break;
    case ns_t_txt: wanted = RecordType::txt; break;
    default: return nothing(NO_DATA);
  }
  if (!is_name(name)) return nothing(HOST_NOT_FOUND);
  Answer found = static_cast<Resolver*>(server->hook)->query(name, wanted);
  if (found.status == Answer::Status::error) return nothing(TRY_AGAIN);
  if (found.status == Answer::Status::nothing || found.values.empty()) return nothing(NO_DATA);
  SPF_dns_rr_t* const out = nothing(NETDB_SUCCESS);
  if (out == nullptr) return out;
  for (std::string& value : found.values) {
    if (put(*out, out->num_rr, type, std::move(value))) ++out->num_rr;
  }
  return out;
}

Result to_result(SPF_result_t result) {
  switch (result) {
    case SPF_RESULT_NEUTRAL: return Result::neutral;
    case SPF_RESULT_PASS: return Result::pass;
    case SPF_RESULT_FAIL: return Result::fail;
    case SPF_RESULT_SOFTFAIL: return Result::softfail;
    case SPF_RESULT_NONE: return Result::none;
    case SPF_RESULT_TEMPERROR: return Result::temperror;
    case SPF_RESULT_PERMERROR:
    case SPF_RESULT_INVALID: break;
  }
  return Result::permerror;
}

}  // namespace

Outcome check_with_libspf2(Resolver& resolver, const Query& query) {
  Outcome out;
  const std::string sender = query.sender.empty() ? "postmaster@" + query.helo : query.sender;
  out.domain = sender.substr(sender.rfind('@') + 1);
  if (!is_name(out.domain) || out.domain.find('.') == std::string::npos) return out;   // none (section 4.3)
  SPF_dns_server_t dns{};   // without `destroy` it stays ours
  dns.lookup = look_up;
  dns.name = "host";
  dns.hook = &resolver;
  const Owned<SPF_server_t> server(SPF_server_new_dns(&dns, 0), [](SPF_server_t* one) {
    one->resolver = nullptr;   // its own is shared with nobody else, but it is no memory of the library's
    one->destroy_resolver = 0;
    SPF_server_free(one);
  });
  if (!server) return out.result = Result::temperror, out.problem = "no memory", out;
  SPF_server_set_rec_dom(server.get(), is_name(query.receiver) ? query.receiver.c_str() : "unknown");
  const Owned<SPF_request_t> request(SPF_request_new(server.get()), SPF_request_free);
  const std::string address = query.client.to_text();
  if (query.client.is_v6) SPF_request_set_ipv6_str(request.get(), address.c_str());
  else SPF_request_set_ipv4_str(request.get(), address.c_str());
  const std::string helo = is_name(query.helo) ? query.helo : "unknown";
  SPF_request_set_helo_dom(request.get(), helo.c_str());
  std::string from = sender;
  std::replace(from.begin(), from.end(), '\0', '?');
  if (SPF_request_set_env_from(request.get(), from.c_str()) != SPF_E_SUCCESS) return out;
  SPF_response_t* answered = nullptr;
  SPF_request_query_mailfrom(request.get(), &answered);
  const Owned<SPF_response_t> response(answered, [](SPF_response_t* one) {
    if (one != nullptr) SPF_response_free(one);
  });
  if (!response) return out.result = Result::temperror, out.problem = "libspf2: no answer", out;
  out.result = to_result(SPF_response_result(response.get()));
  const SPF_errcode_t error = SPF_response_errcode(response.get());
  if (out.result == Result::permerror || out.result == Result::temperror) {
    if (error == SPF_E_DNS_ERROR) out.result = Result::temperror;
    out.problem = std::string("libspf2: ") + (SPF_strerror(error) != nullptr ? SPF_strerror(error) : "?");
  }
  return out;
}

}  // namespace millrace::spf
