// A filter built on libmilter that gives every answer at every stage, as it is told: the real peer for the comparison with
// Postfix (../replies.py).
//
//   milter_replies SOCKET
//
// "STAGE.ANSWER" comes as the client's address for connect (127.0.1.N, the N-th answer), as the name in HELO, as the local
// part of sender or recipient, and for later stages as the sender's.
#include <arpa/inet.h>
#include <libmilter/mfapi.h>
#include <netinet/in.h>

#include <cstdio>
#include <string>
#include <string_view>

namespace {

constexpr std::string_view kAnswers[] = {"continue", "accept", "reject", "tempfail", "discard", "five", "four", "lines", "bye"};

struct Session {
  std::string sender;
};

Session& session(SMFICTX* context) {
  auto* one = static_cast<Session*>(smfi_getpriv(context));
  if (one == nullptr) smfi_setpriv(context, one = new Session);
  return *one;
}

sfsistat reply(SMFICTX* context, const char* code, const char* enhanced, const char* text) {
  smfi_setreply(context, const_cast<char*>(code), const_cast<char*>(enhanced), const_cast<char*>(text));
  return code[0] == '5' ? SMFIS_REJECT : SMFIS_TEMPFAIL;
}

sfsistat give(SMFICTX* context, std::string_view answer) {
  if (answer == "accept") return SMFIS_ACCEPT;
  if (answer == "reject") return SMFIS_REJECT;
  if (answer == "tempfail") return SMFIS_TEMPFAIL;
  if (answer == "discard") return SMFIS_DISCARD;
  if (answer == "five") return reply(context, "554", "5.7.9", "not this one, 100%% sure");
  if (answer == "four") return reply(context, "450", nullptr, "later");
  if (answer == "bye") return reply(context, "421", "4.7.0", "closing");
  if (answer == "lines") {
    char code[] = "550", enhanced[] = "5.7.8";
    smfi_setmlreply(context, code, enhanced, "first", "second", "third", nullptr);
    return SMFIS_REJECT;
  }
  return SMFIS_CONTINUE;
}

// The answer for `stage` when `text` holds "STAGE.ANSWER".
sfsistat told(SMFICTX* context, std::string_view stage, std::string_view text) {
  const std::string mark = std::string(stage) + ".";
  const std::size_t at = text.find(mark);
  if (at == text.npos) return SMFIS_CONTINUE;
  text.remove_prefix(at + mark.size());
  return give(context, text.substr(0, text.find_first_not_of("abcdefghijklmnopqrstuvwxyz")));
}

sfsistat on_connect(SMFICTX* context, char*, _SOCK_ADDR* address) {
  if (address == nullptr || address->sa_family != AF_INET) return SMFIS_CONTINUE;
  const auto number = ntohl(reinterpret_cast<sockaddr_in*>(address)->sin_addr.s_addr);
  if ((number >> 8) != (0x7f000100u >> 8) || (number & 255) >= std::size(kAnswers)) return SMFIS_CONTINUE;
  return give(context, kAnswers[number & 255]);
}
sfsistat on_helo(SMFICTX* context, char* name) { return told(context, "helo", name); }
sfsistat on_mail(SMFICTX* context, char** words) {
  session(context).sender = words[0];
  return told(context, "mail", words[0]);
}
sfsistat on_rcpt(SMFICTX* context, char** words) { return told(context, "rcpt", words[0]); }
sfsistat on_data(SMFICTX* context) { return told(context, "data", session(context).sender); }
sfsistat on_unknown(SMFICTX* context, const char* line) { return told(context, "unknown", line); }
sfsistat on_header(SMFICTX* context, char*, char*) { return told(context, "header", session(context).sender); }
sfsistat on_eoh(SMFICTX* context) { return told(context, "eoh", session(context).sender); }
sfsistat on_body(SMFICTX* context, unsigned char*, std::size_t) {
  return session(context).sender.find("body.skip") != std::string::npos ? SMFIS_SKIP : told(context, "body", session(context).sender);
}

sfsistat on_end(SMFICTX* context) {
  const std::string& sender = session(context).sender;
  char name[] = "X-Seen", value[] = "yes", reason[] = "suspect", subject[] = "Subject", changed[] = "changed";
  char rcpt[] = "<extra@dest.example>", from[] = "<new@sender.example>", body[] = "replaced\r\n", drop[] = "<b@dest.example>";
  char other[] = "<par@dest.example>", notify[] = "NOTIFY=NEVER", ret[] = "RET=HDRS";
  smfi_addheader(context, name, value);
  if (sender.find("eom.quarantine") != sender.npos) smfi_quarantine(context, reason);
  if (sender.find("eom.progress") != sender.npos) smfi_progress(context);
  if (sender.find("eom.edit") != sender.npos) {
    smfi_chgheader(context, subject, 1, changed);
    smfi_insheader(context, 1, name, value);
    smfi_chgheader(context, name, 2, nullptr);
    smfi_addrcpt(context, rcpt);
    smfi_addrcpt_par(context, other, notify);
    smfi_delrcpt(context, drop);
    smfi_chgfrom(context, from, ret);
    smfi_replacebody(context, reinterpret_cast<unsigned char*>(body), static_cast<int>(sizeof body - 1));
  }
  return told(context, "eom", sender);
}

sfsistat on_close(SMFICTX* context) {
  delete static_cast<Session*>(smfi_getpriv(context));
  smfi_setpriv(context, nullptr);
  return SMFIS_CONTINUE;
}

}  // namespace

int main(int argc, char** argv) {
  smfiDesc filter{};
  char name[] = "replies";
  filter.xxfi_name = name;
  filter.xxfi_version = SMFI_VERSION;
  filter.xxfi_flags = SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_CHGBODY | SMFIF_ADDRCPT | SMFIF_ADDRCPT_PAR | SMFIF_DELRCPT |
                      SMFIF_QUARANTINE | SMFIF_CHGFROM;
  filter.xxfi_connect = on_connect;
  filter.xxfi_helo = on_helo;
  filter.xxfi_envfrom = on_mail;
  filter.xxfi_envrcpt = on_rcpt;
  filter.xxfi_data = on_data;
  filter.xxfi_unknown = on_unknown;
  filter.xxfi_header = on_header;
  filter.xxfi_eoh = on_eoh;
  filter.xxfi_body = on_body;
  filter.xxfi_eom = on_end;
  filter.xxfi_close = on_close;
  if (argc != 2 || smfi_setconn(argv[1]) == MI_FAILURE || smfi_register(filter) == MI_FAILURE) {
    std::fprintf(stderr, "usage: milter_replies inet:PORT@HOST | unix:PATH\n");
    return 2;
  }
  return smfi_main();
}
