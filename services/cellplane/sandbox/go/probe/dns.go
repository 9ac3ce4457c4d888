package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

const (
	header   = 12 // bytes of a message before its question (RFC 1035, 4.1.1)
	typeA    = 1
	maxLabel = 63
)

// known has the addresses of names; any other name has the one of nobody (RFC 5737, TEST-NET-1).
var (
	known  = map[string]net.IP{}
	nobody = net.IPv4(192, 0, 2, 1).To4()
)

// resolved answers a message of one question: an address for type A, nothing for any other type.
func resolved(message []byte) []byte {
	name, end := "", header
	for end < len(message) && message[end] != 0 {
		next := end + int(message[end]) + 1
		if message[end] > maxLabel || next > len(message) {
			return nil
		}
		name += string(message[end+1:next]) + "."
		end = next
	}
	end += 1 + 4
	if end > len(message) || binary.BigEndian.Uint16(message[4:]) != 1 {
		return nil
	}
	answer := append([]byte{}, message[:end]...)
	binary.BigEndian.PutUint16(answer[2:], 0x8180) // a response; recursion desired and available
	clear(answer[6:header])
	if binary.BigEndian.Uint16(message[end-4:]) == typeA {
		answer[7] = 1
		answer = append(answer, 0xc0, header, 0, typeA, 0, 1, 0, 0, 0, 5, 0, 4)
		answer = append(answer, addressOf(name)...)
	}
	return answer
}

func addressOf(name string) net.IP {
	if address, isKnown := known[strings.ToLower(name)]; isKnown {
		return address
	}
	return nobody
}

func answerOverTCP(connection net.Conn) {
	for {
		var length uint16
		if binary.Read(connection, binary.BigEndian, &length) != nil {
			return
		}
		message := make([]byte, length)
		if _, err := io.ReadFull(connection, message); err != nil {
			return
		}
		answer := resolved(message)
		if answer == nil {
			return
		}
		connection.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	}
}

func resolve(network string, to target, deadline time.Time) (string, error) {
	scope, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	resolver := net.Resolver{
		PreferGo: true,
		Dial: func(scope context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(scope, network, to.Address)
		},
	}
	addresses, err := resolver.LookupIP(scope, "ip4", to.Name)
	if err != nil {
		return "", err
	}
	if len(addresses) == 0 {
		return "", errors.New("no address")
	}
	return addresses[0].String(), nil
}
