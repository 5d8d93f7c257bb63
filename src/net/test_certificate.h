// A certificate for tests of TLS, made anew each time: no key lies in the repository.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>
#include <memory>
#include <string>

namespace quern {

/// Writes a self-signed certificate for "localhost" and its key as PEM; false if that failed.
inline bool write_test_certificate(const std::string& certificate_file,
                                   const std::string& key_file) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"),
                                                                &EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), &X509_free);
  if (key == nullptr || certificate == nullptr) return false;
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* const name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  if (X509_sign(certificate.get(), key.get(), EVP_sha256()) == 0) return false;

  const auto write = [](const std::string& path, auto&& put) {
    std::FILE* const file = std::fopen(path.c_str(), "w");
    const bool done = file != nullptr && put(file) == 1;
    return file != nullptr && std::fclose(file) == 0 && done;
  };
  return write(certificate_file,
               [&](std::FILE* file) { return PEM_write_X509(file, certificate.get()); }) &&
         write(key_file, [&](std::FILE* file) {
           return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
         });
}

}  // namespace quern
