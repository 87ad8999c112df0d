# Mail::DKIM for tests.
#   mail_dkim.pl sign KEYFILE CANON ALGORITHM DOMAIN SELECTOR FILE...   writes FILE.signed
#   mail_dkim.pl verify KEYS FILE...   a line "FILE RESULT" each; KEYS has lines "NAME RECORD"
use strict;
use warnings;
use Mail::DKIM::Signer;
use Mail::DKIM::Verifier;

sub content { open my $file, '<:raw', $_[0] or die "$_[0]: $!"; local $/; return scalar <$file>; }

my $what = shift @ARGV;
if ($what eq 'sign') {
    my ($key, $canon, $algorithm, $domain, $selector) = splice @ARGV, 0, 5;
    for my $name (@ARGV) {
        my $signer = Mail::DKIM::Signer->new(Algorithm => $algorithm, Method => $canon, Domain => $domain, Selector => $selector, KeyFile => $key);
        my $text = content($name);
        $signer->PRINT($text);
        $signer->CLOSE;
        my $field = $signer->signature->as_string;
        $field =~ s/\r?\n/\r\n/g;
        open my $out, '>:raw', "$name.signed" or die $!;
        print $out "$field\r\n$text";
    }
    exit 0;
}
my %keys;
open my $list, '<', shift @ARGV or die $!;
while (<$list>) { chomp; my ($name, $record) = split / /, $_, 2; $keys{$name} = $record; }
{ package TestRecord; sub new { bless { text => $_[1] }, $_[0] } sub type { 'TXT' } sub txtdata { return ($_[0]{text}) } }
{
    no warnings 'redefine';
    *Mail::DKIM::DNS::query_async = sub {
        my ($name, $type, %more) = @_;
        my $record = $keys{ lc $name };
        my $result = eval { $more{Callbacks}{Success}->(defined $record ? (TestRecord->new($record)) : ()) };
        my $error = $@;
        return sub { die $error if $error; return $result };
    };
}
for my $name (@ARGV) {
    my $verifier = Mail::DKIM::Verifier->new;
    eval { $verifier->PRINT(content($name)); $verifier->CLOSE; 1 } or print STDERR $@;
    print "$name ", ($verifier->result || 'none'), "\n";
}
