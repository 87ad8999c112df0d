// The table of restriction words: name, argument, handler.
#include "core/base/strings.h"
#include "core/restrict/run.h"

namespace millrace::restrict {

const Word kClientAccess = {"check_client_access", Argument::table, &Run::check_client_access};
const Word kHeloAccess = {"check_helo_access", Argument::table, &Run::check_helo_access};
const Word kSenderAccess = {"check_sender_access", Argument::table, &Run::check_sender_access};
const Word kRecipientAccess = {"check_recipient_access", Argument::table, &Run::check_recipient_access};
const Word kEtrnAccess = {"check_etrn_access", Argument::table, &Run::check_etrn_access};
const Word kListDefault = {"access table", Argument::table, &Run::check_list_default};

namespace {

constexpr bool kEnds = true, kRelay = true;

const Word kWords[] = {
    kClientAccess,
    kHeloAccess,
    kSenderAccess,
    kRecipientAccess,
    kEtrnAccess,
    {"check_reverse_client_hostname_access", Argument::table, &Run::check_reverse_client_hostname_access},

    {"permit", Argument::none, &Run::permit, kEnds},
    {"reject", Argument::none, &Run::reject_all, kEnds, kRelay},
    {"defer", Argument::none, &Run::defer_all, kEnds, kRelay},
    {"defer_if_permit", Argument::none, &Run::defer_if_permit_word, false, kRelay},
    {"defer_if_reject", Argument::none, &Run::defer_if_reject_word},
    {"warn_if_reject", Argument::none, nullptr},
    {"sleep", Argument::seconds, &Run::sleep},
    {"check_policy_service", Argument::policy, &Run::check_policy_service},
    {"check_lua", Argument::lua, &Run::check_foreign},
    {"check_plugin", Argument::plugin, &Run::check_foreign},
    {"reject_unauth_pipelining", Argument::none, &Run::reject_unauth_pipelining},
    {"reject_multi_recipient_bounce", Argument::none, &Run::reject_multi_recipient_bounce},
    {"reject_plaintext_session", Argument::none, &Run::reject_plaintext_session},

    {"permit_mynetworks", Argument::none, &Run::permit_mynetworks},
    {"permit_inet_interfaces", Argument::none, &Run::permit_inet_interfaces},
    {"permit_sasl_authenticated", Argument::none, &Run::permit_sasl_authenticated},
    {"reject_unknown_client_hostname", Argument::none, &Run::reject_unknown_client_hostname},
    {"reject_unknown_client", Argument::none, &Run::reject_unknown_client_hostname},
    {"reject_unknown_reverse_client_hostname", Argument::none, &Run::reject_unknown_reverse_client_hostname},

    {"reject_invalid_helo_hostname", Argument::none, &Run::reject_invalid_helo_hostname},
    {"reject_invalid_hostname", Argument::none, &Run::reject_invalid_helo_hostname},
    {"reject_non_fqdn_helo_hostname", Argument::none, &Run::reject_non_fqdn_helo_hostname},
    {"reject_non_fqdn_hostname", Argument::none, &Run::reject_non_fqdn_helo_hostname},
    {"reject_unknown_helo_hostname", Argument::none, &Run::reject_unknown_helo_hostname},
    {"reject_unknown_hostname", Argument::none, &Run::reject_unknown_helo_hostname},

    {"reject_non_fqdn_sender", Argument::none, &Run::reject_non_fqdn_sender},
    {"reject_unknown_sender_domain", Argument::none, &Run::reject_unknown_sender_domain},
    {"reject_unknown_address", Argument::none, &Run::reject_unknown_sender_domain},
    {"reject_unlisted_sender", Argument::none, &Run::reject_unlisted_sender},
    {"reject_unverified_sender", Argument::none, &Run::reject_unverified_sender},

    {"permit_auth_destination", Argument::none, &Run::permit_auth_destination},
    {"reject_unauth_destination", Argument::none, &Run::reject_unauth_destination, false, kRelay},
    {"defer_unauth_destination", Argument::none, &Run::defer_unauth_destination, false, kRelay},
    {"reject_non_fqdn_recipient", Argument::none, &Run::reject_non_fqdn_recipient},
    {"reject_unknown_recipient_domain", Argument::none, &Run::reject_unknown_recipient_domain},
    {"reject_unlisted_recipient", Argument::none, &Run::reject_unlisted_recipient},
    {"check_recipient_maps", Argument::none, &Run::reject_unlisted_recipient},
    {"reject_unverified_recipient", Argument::none, &Run::reject_unverified_recipient},

    // Known to Postfix and not supported yet: refused at start, each by its name.
    {"check_ccert_access", Argument::unsupported, nullptr},
    {"check_sasl_access", Argument::unsupported, nullptr},
    {"check_client_a_access", Argument::unsupported, nullptr},
    {"check_client_mx_access", Argument::unsupported, nullptr},
    {"check_client_ns_access", Argument::unsupported, nullptr},
    {"check_reverse_client_hostname_a_access", Argument::unsupported, nullptr},
    {"check_reverse_client_hostname_mx_access", Argument::unsupported, nullptr},
    {"check_reverse_client_hostname_ns_access", Argument::unsupported, nullptr},
    {"check_helo_a_access", Argument::unsupported, nullptr},
    {"check_helo_mx_access", Argument::unsupported, nullptr},
    {"check_helo_ns_access", Argument::unsupported, nullptr},
    {"check_sender_a_access", Argument::unsupported, nullptr},
    {"check_sender_mx_access", Argument::unsupported, nullptr},
    {"check_sender_ns_access", Argument::unsupported, nullptr},
    {"check_recipient_a_access", Argument::unsupported, nullptr},
    {"check_recipient_mx_access", Argument::unsupported, nullptr},
    {"check_recipient_ns_access", Argument::unsupported, nullptr},
    {"check_relay_domains", Argument::unsupported, nullptr},
    {"permit_dnswl_client", Argument::unsupported, nullptr},
    {"permit_mx_backup", Argument::unsupported, nullptr},
    {"permit_naked_ip_address", Argument::unsupported, nullptr},
    {"permit_rhswl_client", Argument::unsupported, nullptr},
    {"permit_tls_all_clientcerts", Argument::unsupported, nullptr},
    {"permit_tls_clientcerts", Argument::unsupported, nullptr},
    {"reject_authenticated_sender_login_mismatch", Argument::unsupported, nullptr},
    {"reject_known_sender_login_mismatch", Argument::unsupported, nullptr},
    {"reject_maps_rbl", Argument::unsupported, nullptr},
    {"reject_rbl", Argument::unsupported, nullptr},
    {"reject_rbl_client", Argument::unsupported, nullptr},
    {"reject_rhsbl_client", Argument::unsupported, nullptr},
    {"reject_rhsbl_helo", Argument::unsupported, nullptr},
    {"reject_rhsbl_recipient", Argument::unsupported, nullptr},
    {"reject_rhsbl_reverse_client", Argument::unsupported, nullptr},
    {"reject_rhsbl_sender", Argument::unsupported, nullptr},
    {"reject_sender_login_mismatch", Argument::unsupported, nullptr},
    {"reject_unauthenticated_sender_login_mismatch", Argument::unsupported, nullptr},
};

}  // namespace

const Word* find_word(std::string_view name) {
  for (const Word& word : kWords) {
    if (iequals(word.name, name)) return &word;
  }
  return nullptr;
}

}  // namespace millrace::restrict
