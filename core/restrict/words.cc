// The table of restriction words: name, argument, handler.
#include "core/base/strings.h"
#include "core/restrict/run.h"

namespace millrace::restrict {

const Word kClientAccess = {"check_client_access", Argument::table, &Run::check_client_access};
const Word kHeloAccess = {"check_helo_access", Argument::table, &Run::check_helo_access};
const Word kSenderAccess = {"check_sender_access", Argument::table, &Run::check_sender_access};
const Word kRecipientAccess = {"check_recipient_access", Argument::table, &Run::check_recipient_access};
const Word kEtrnAccess = {"check_etrn_access", Argument::table, &Run::check_etrn_access};
const Word kBrokenWord = {"restriction list", Argument::none, &Run::broken};
const Word kWarningWord = {"restriction list", Argument::none, &Run::say};
const Word kListDefault = {"access table", Argument::table, &Run::check_list_default};

namespace {

const Word kWords[] = {
    kClientAccess,
    kHeloAccess,
    kSenderAccess,
    kRecipientAccess,
    kEtrnAccess,
    {"check_reverse_client_hostname_access", Argument::table, &Run::check_reverse_client_hostname_access},

    {"permit", Argument::none, &Run::permit, kEndsList | kLocal},
    {"reject", Argument::none, &Run::reject_all, kEndsList | kControlsRelay | kLocal},
    {"defer", Argument::none, &Run::defer_all, kEndsList | kControlsRelay | kLocal},
    {"defer_if_permit", Argument::none, &Run::defer_if_permit_word, kControlsRelay | kLocal},
    {"defer_if_reject", Argument::none, &Run::defer_if_reject_word, kLocal},
    {"warn_if_reject", Argument::none, nullptr},
    {"sleep", Argument::seconds, &Run::sleep},
    {"check_policy_service", Argument::policy, &Run::check_policy_service},
    {"check_lua", Argument::lua, &Run::check_foreign},
    {"check_plugin", Argument::plugin, &Run::check_foreign},
    {"reject_unauth_pipelining", Argument::none, &Run::reject_unauth_pipelining, kLocal},
    {"reject_multi_recipient_bounce", Argument::none, &Run::reject_multi_recipient_bounce, kLocal},
    {"reject_plaintext_session", Argument::none, &Run::reject_plaintext_session, kLocal},

    {"permit_mynetworks", Argument::none, &Run::permit_mynetworks, kLocal},
    {"permit_inet_interfaces", Argument::none, &Run::permit_inet_interfaces, kLocal},
    {"permit_sasl_authenticated", Argument::none, &Run::permit_sasl_authenticated, kLocal},
    {"reject_unknown_client_hostname", Argument::none, &Run::reject_unknown_client_hostname, kLocal},
    {"reject_unknown_client", Argument::none, &Run::reject_unknown_client_hostname, kLocal},
    {"reject_unknown_reverse_client_hostname", Argument::none, &Run::reject_unknown_reverse_client_hostname, kLocal},

    {"reject_invalid_helo_hostname", Argument::none, &Run::reject_invalid_helo_hostname, kLocal},
    {"reject_invalid_hostname", Argument::none, &Run::reject_invalid_helo_hostname, kLocal},
    {"reject_non_fqdn_helo_hostname", Argument::none, &Run::reject_non_fqdn_helo_hostname, kLocal},
    {"reject_non_fqdn_hostname", Argument::none, &Run::reject_non_fqdn_helo_hostname, kLocal},
    {"reject_unknown_helo_hostname", Argument::none, &Run::reject_unknown_helo_hostname, 0, &Run::ahead_helo},
    {"reject_unknown_hostname", Argument::none, &Run::reject_unknown_helo_hostname, 0, &Run::ahead_helo},
    {"permit_naked_ip_address", Argument::none, &Run::permit_naked_ip_address, kLocal},

    {"reject_non_fqdn_sender", Argument::none, &Run::reject_non_fqdn_sender, kLocal},
    {"reject_unknown_sender_domain", Argument::none, &Run::reject_unknown_sender_domain, 0, &Run::ahead_sender_domain},
    {"reject_unknown_address", Argument::none, &Run::reject_unknown_sender_domain, 0, &Run::ahead_sender_domain},
    {"reject_unlisted_sender", Argument::none, &Run::reject_unlisted_sender, kLocal},
    {"reject_unverified_sender", Argument::none, &Run::reject_unverified_sender},

    {"permit_auth_destination", Argument::none, &Run::permit_auth_destination, kLocal},
    {"reject_unauth_destination", Argument::none, &Run::reject_unauth_destination, kControlsRelay | kLocal},
    {"defer_unauth_destination", Argument::none, &Run::defer_unauth_destination, kControlsRelay | kLocal},
    {"check_relay_domains", Argument::none, &Run::check_relay_domains, kControlsRelay | kLocal},
    {"reject_non_fqdn_recipient", Argument::none, &Run::reject_non_fqdn_recipient, kLocal},
    {"reject_unknown_recipient_domain", Argument::none, &Run::reject_unknown_recipient_domain, 0,
     &Run::ahead_recipient_domain},
    {"reject_unlisted_recipient", Argument::none, &Run::reject_unlisted_recipient, kLocal},
    {"check_recipient_maps", Argument::none, &Run::reject_unlisted_recipient, kLocal},
    {"reject_unverified_recipient", Argument::none, &Run::reject_unverified_recipient},
    {"permit_mx_backup", Argument::none, &Run::permit_mx_backup, 0, &Run::ahead_mx_backup},

    {"reject_rbl_client", Argument::site, &Run::reject_rbl_client, 0, &Run::ahead_listed_address},
    {"reject_rbl", Argument::site, &Run::reject_rbl_client, 0, &Run::ahead_listed_address},
    {"reject_maps_rbl", Argument::none, &Run::reject_maps_rbl, 0, &Run::ahead_listed_address},
    {"reject_rhsbl_client", Argument::site, &Run::reject_rhsbl, 0, &Run::ahead_listed_name},
    {"reject_rhsbl_reverse_client", Argument::site, &Run::reject_rhsbl, 0, &Run::ahead_listed_name},
    {"reject_rhsbl_helo", Argument::site, &Run::reject_rhsbl, 0, &Run::ahead_listed_name},
    {"reject_rhsbl_sender", Argument::site, &Run::reject_rhsbl, 0, &Run::ahead_listed_name},
    {"reject_rhsbl_recipient", Argument::site, &Run::reject_rhsbl, 0, &Run::ahead_listed_name},
    {"permit_dnswl_client", Argument::site, &Run::permit_dnswl_client, 0, &Run::ahead_listed_address},
    {"permit_rhswl_client", Argument::site, &Run::permit_rhswl_client, 0, &Run::ahead_listed_name},

    {"check_client_a_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},
    {"check_client_mx_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},
    {"check_client_ns_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},
    {"check_reverse_client_hostname_a_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},
    {"check_reverse_client_hostname_mx_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},
    {"check_reverse_client_hostname_ns_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},
    {"check_helo_a_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},
    {"check_helo_mx_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},
    {"check_helo_ns_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},
    {"check_sender_a_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},
    {"check_sender_mx_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},
    {"check_sender_ns_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},
    {"check_recipient_a_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},
    {"check_recipient_mx_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},
    {"check_recipient_ns_access", Argument::table, &Run::check_server_access, 0, &Run::ahead_servers},

    // Part 8's: see Argument.
    {"check_sasl_access", Argument::login_table, &Run::nothing, kLocal},
    {"reject_sender_login_mismatch", Argument::login, &Run::nothing, kLocal},
    {"reject_authenticated_sender_login_mismatch", Argument::login, &Run::nothing, kLocal},
    {"reject_known_sender_login_mismatch", Argument::login, &Run::nothing, kLocal},
    {"reject_unauthenticated_sender_login_mismatch", Argument::login, &Run::nothing, kLocal},
    {"check_ccert_access", Argument::certificate_table, &Run::nothing, kLocal},
    {"permit_tls_all_clientcerts", Argument::certificate, &Run::nothing, kLocal},
    {"permit_tls_clientcerts", Argument::certificate, &Run::nothing, kLocal},

};

}  // namespace

const Word* find_word(std::string_view name) {
  for (const Word& word : kWords) {
    if (iequals(word.name, name)) return &word;
  }
  return nullptr;
}

}  // namespace millrace::restrict
