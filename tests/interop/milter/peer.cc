// A filter built on libmilter that uses what a filter may ask for: the real peer of the milter client.
//
//   milter_peer SOCKET   (libmilter's spelling: inet:PORT@HOST, unix:PATH)
//
// The sender's local part says what it does: "edit" changes everything, "reject", "quarantine", "discard"
// speak at the end, "skip" stops the body after one piece, "slow" reports progress; others get headers that
// tell what arrived.
#include <libmilter/mfapi.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <unistd.h>

namespace {

struct Mail {
  std::string sender, seen, macros;
  std::size_t body = 0, pieces = 0;
};

Mail& mail(SMFICTX* context) {
  auto* one = static_cast<Mail*>(smfi_getpriv(context));
  if (one == nullptr) smfi_setpriv(context, one = new Mail);
  return *one;
}

void forget(SMFICTX* context) {
  delete static_cast<Mail*>(smfi_getpriv(context));
  smfi_setpriv(context, nullptr);
}

sfsistat negotiate(SMFICTX* context, unsigned long actions, unsigned long steps, unsigned long, unsigned long,
                   unsigned long* want_actions, unsigned long* want_steps, unsigned long* a, unsigned long* b) {
  *want_actions = actions;
  *want_steps = steps & (SMFIP_SKIP | SMFIP_NR_HDR | SMFIP_NR_EOH | SMFIP_HDR_LEADSPC | SMFIP_NOUNKNOWN);
  *a = *b = 0;
  char at_mail[] = "{mail_addr} {daemon_name}", at_end[] = "i";
  smfi_setsymlist(context, SMFIM_ENVFROM, at_mail);
  smfi_setsymlist(context, SMFIM_EOM, at_end);
  return SMFIS_CONTINUE;
}

sfsistat on_connect(SMFICTX* context, char* name, _SOCK_ADDR*) {
  mail(context).seen += std::string("connect ") + name;
  return SMFIS_CONTINUE;
}
sfsistat on_helo(SMFICTX* context, char* name) {
  mail(context).seen += std::string(" helo ") + name;
  return SMFIS_CONTINUE;
}
sfsistat on_mail(SMFICTX* context, char** words) {
  Mail& one = mail(context);
  one.sender = words[0];
  const char* const value = smfi_getsymval(context, const_cast<char*>("{daemon_name}"));
  one.macros += value != nullptr ? value : "none";
  return SMFIS_CONTINUE;
}
sfsistat on_rcpt(SMFICTX* context, char** words) {
  mail(context).seen += std::string(" rcpt ") + words[0];
  return SMFIS_CONTINUE;
}
sfsistat on_header(SMFICTX* context, char* name, char* value) {
  mail(context).seen += std::string(" ") + name + "=" + value;
  return SMFIS_CONTINUE;
}
sfsistat on_eoh(SMFICTX*) { return SMFIS_CONTINUE; }
sfsistat on_body(SMFICTX* context, unsigned char*, std::size_t size) {
  Mail& one = mail(context);
  one.body += size;
  ++one.pieces;
  return one.sender == "<skip@x.example>" ? SMFIS_SKIP : SMFIS_CONTINUE;
}

int add(SMFICTX* context, const char* name, const std::string& value) {
  return smfi_addheader(context, const_cast<char*>(name), const_cast<char*>(value.c_str()));
}

sfsistat on_end(SMFICTX* context) {
  Mail& one = mail(context);
  const char* const id = smfi_getsymval(context, const_cast<char*>("i"));
  if (one.sender == "<reject@x.example>") {
    char code[] = "554", enhanced[] = "5.7.9";
    smfi_setmlreply(context, code, enhanced, "first 100%%", "second", nullptr);
    return SMFIS_REJECT;
  }
  if (one.sender == "<discard@x.example>") return SMFIS_DISCARD;
  if (one.sender == "<slow@x.example>") {
    for (int i = 0; i < 4; ++i) {
      usleep(200 * 1000);
      smfi_progress(context);
    }
  }
  if (one.sender == "<quarantine@x.example>") {
    char reason[] = "suspect";
    smfi_quarantine(context, reason);
  }
  if (one.sender == "<edit@x.example>") {
    char subject[] = "Subject", changed[] = " changed", top[] = "X-Top", value[] = " top", gone[] = "X-Gone";
    char from[] = "<new@x.example>", args[] = "RET=HDRS", extra[] = "<extra@x.example>", drop[] = "<b@y.example>";
    smfi_chgheader(context, subject, 1, changed);
    smfi_insheader(context, 0, top, value);
    smfi_chgheader(context, gone, 1, nullptr);
    smfi_chgfrom(context, from, args);
    smfi_addrcpt(context, extra);
    smfi_delrcpt(context, drop);
    std::string body(200000, 'z');
    body += "\r\n";
    smfi_replacebody(context, reinterpret_cast<unsigned char*>(body.data()), static_cast<int>(body.size()));
    return SMFIS_CONTINUE;
  }
  add(context, "X-Seen", " " + one.seen);
  add(context, "X-Body", " " + std::to_string(one.body) + " in " + std::to_string(one.pieces));
  add(context, "X-Macros", " " + one.macros + " " + (id != nullptr ? id : "none"));
  return SMFIS_ACCEPT;
}
sfsistat on_abort(SMFICTX*) { return SMFIS_CONTINUE; }
sfsistat on_close(SMFICTX* context) {
  forget(context);
  return SMFIS_CONTINUE;
}

}  // namespace

int main(int argc, char** argv) {
  smfiDesc filter{};
  char name[] = "peer";
  filter.xxfi_name = name;
  filter.xxfi_version = SMFI_VERSION;
  filter.xxfi_flags = SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_CHGBODY | SMFIF_ADDRCPT | SMFIF_DELRCPT | SMFIF_QUARANTINE |
                      SMFIF_CHGFROM | SMFIF_SETSYMLIST;
  filter.xxfi_connect = on_connect;
  filter.xxfi_helo = on_helo;
  filter.xxfi_envfrom = on_mail;
  filter.xxfi_envrcpt = on_rcpt;
  filter.xxfi_header = on_header;
  filter.xxfi_eoh = on_eoh;
  filter.xxfi_body = on_body;
  filter.xxfi_eom = on_end;
  filter.xxfi_abort = on_abort;
  filter.xxfi_close = on_close;
  filter.xxfi_negotiate = negotiate;
  if (argc != 2 || smfi_setconn(argv[1]) == MI_FAILURE || smfi_register(filter) == MI_FAILURE) {
    std::fprintf(stderr, "usage: milter_peer inet:PORT@HOST | unix:PATH\n");
    return 2;
  }
  return smfi_main();
}
