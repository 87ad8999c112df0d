// A filter built on libmilter that looks at every stage and changes nothing: what one milter costs.  It sleeps so many
// seconds at a header "X-Stall: SECONDS".
//
//   noop_milter inet:PORT@127.0.0.1 | unix:PATH
#include <libmilter/mfapi.h>

#include <strings.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace {

sfsistat on_connect(SMFICTX*, char*, sockaddr*) { return SMFIS_CONTINUE; }
sfsistat on_text(SMFICTX*, char*) { return SMFIS_CONTINUE; }
sfsistat on_path(SMFICTX*, char**) { return SMFIS_CONTINUE; }
sfsistat on_header(SMFICTX*, char* name, char* value) {
  if (strcasecmp(name, "X-Stall") == 0) sleep(static_cast<unsigned>(std::atoi(value)));
  return SMFIS_CONTINUE;
}
sfsistat on_body(SMFICTX*, unsigned char*, std::size_t) { return SMFIS_CONTINUE; }
sfsistat on_end(SMFICTX*) { return SMFIS_CONTINUE; }

}  // namespace

int main(int argc, char** argv) {
  smfiDesc filter{};
  char name[] = "noop";
  filter.xxfi_name = name;
  filter.xxfi_version = SMFI_VERSION;
  filter.xxfi_connect = on_connect;
  filter.xxfi_helo = on_text;
  filter.xxfi_envfrom = on_path;
  filter.xxfi_envrcpt = on_path;
  filter.xxfi_header = on_header;
  filter.xxfi_eoh = on_end;
  filter.xxfi_body = on_body;
  filter.xxfi_eom = on_end;
  if (argc != 2 || smfi_setconn(argv[1]) == MI_FAILURE || smfi_register(filter) == MI_FAILURE) {
    std::fprintf(stderr, "usage: noop_milter inet:PORT@HOST | unix:PATH\n");
    return 2;
  }
  return smfi_main();
}
