// What runs in the pods of a sandbox whose network is tried, and what tries it.
//
// A listener says its name to whoever reaches it, so that an answer tells who answered; a prober
// tells an answer from silence and from a refusal, which a policy never sends.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const usage = `usage:
  probe serve NAME DOOR|HOST=ADDRESS ...            answer at tcp:, udp: or dns:[ADDRESS:]PORT
  probe ask SECONDS                                 try the targets (JSON) of standard input
  probe hold ADDRESS                                talk until all is silent, or input closed
  probe knock ADDRESS ...                           try without a pause, until ended
  probe relay FROM TO                               pass connections on; tcp:ADDRESS or unix:PATH
  pause                                             do nothing, until ended`

func main() {
	arguments := os.Args[1:]
	if filepath.Base(os.Args[0]) == "pause" {
		wait()
		return
	}
	var err error
	switch {
	case len(arguments) > 2 && arguments[0] == "serve":
		err = serve(arguments[1], arguments[2:])
	case len(arguments) == 2 && arguments[0] == "ask":
		err = ask(arguments[1])
	case len(arguments) == 2 && arguments[0] == "hold":
		err = hold(arguments[1])
	case len(arguments) == 3 && arguments[0] == "relay":
		err = relay(arguments[1], arguments[2])
	case len(arguments) > 1 && arguments[0] == "knock":
		knock(arguments[1:])
	default:
		err = errors.New(usage)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// wait returns when the process shall end; meanwhile it reaps, as the first process of a pod must.
func wait() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for got := range signals {
		if got != syscall.SIGCHLD {
			return
		}
		for {
			if pid, _ := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 {
				break
			}
		}
	}
}

func serve(name string, doors []string) error {
	for _, door := range doors {
		if host, address, isHost := strings.Cut(door, "="); isHost {
			known[host+"."] = net.ParseIP(address).To4()
			continue
		}
		kind, at, _ := strings.Cut(door, ":")
		if !strings.Contains(at, ":") {
			at = ":" + at
		}
		if kind == "tcp" || kind == "dns" {
			listener, err := net.Listen("tcp", at)
			if err != nil {
				return err
			}
			go accept(listener, name, kind)
		}
		if kind == "udp" || kind == "dns" {
			socket, err := net.ListenPacket("udp", at)
			if err != nil {
				return err
			}
			go receive(socket, name, kind)
		}
	}
	fmt.Println("serving", name)
	wait()
	return nil
}

func accept(listener net.Listener, name, kind string) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		fmt.Println("reached", kind, listener.Addr(), "from", connection.RemoteAddr())
		go func() {
			defer connection.Close()
			if kind == "dns" {
				answerOverTCP(connection)
				return
			}
			fmt.Fprintln(connection, name)
			lines := bufio.NewScanner(connection)
			for lines.Scan() {
				fmt.Fprintln(connection, lines.Text())
			}
		}()
	}
}

func receive(socket net.PacketConn, name, kind string) {
	packet := make([]byte, 1500)
	for {
		length, from, err := socket.ReadFrom(packet)
		if err != nil {
			return
		}
		answer := []byte(name)
		if kind == "dns" {
			answer = resolved(packet[:length])
		} else {
			fmt.Println("reached", kind, socket.LocalAddr(), "from", from)
		}
		if answer != nil {
			socket.WriteTo(answer, from)
		}
	}
}

type target struct {
	Protocol string `json:"protocol"` // tcp, udp, dns (over UDP) or dns-tcp
	Address  string `json:"address"`
	From     string `json:"from,omitempty"` // the address to come from
	Name     string `json:"name,omitempty"` // what to resolve
}

type result struct {
	Answer string `json:"answer"` // the name of who answered, or an address for a name
	Error  string `json:"error"`  // "silent", "refused", "mute" (connected) or what went wrong
}

// ask tries all targets at once, and writes a result for each, in their order.
func ask(seconds string) error {
	patience, err := time.ParseDuration(seconds + "s")
	if err != nil {
		return err
	}
	var targets []target
	if err := json.NewDecoder(os.Stdin).Decode(&targets); err != nil {
		return err
	}
	results := make([]result, len(targets))
	var all sync.WaitGroup
	for index, each := range targets {
		all.Go(func() {
			answer, err := try(each, time.Now().Add(patience))
			results[index] = result{Answer: answer, Error: reason(err)}
		})
	}
	all.Wait()
	return json.NewEncoder(os.Stdout).Encode(results)
}

func try(to target, deadline time.Time) (string, error) {
	switch to.Protocol {
	case "dns":
		return resolve("udp", to, deadline)
	case "dns-tcp":
		return resolve("tcp", to, deadline)
	case "udp":
		return datagram(to, deadline)
	case "tcp":
		return stream(to, deadline)
	default:
		return "", fmt.Errorf("unknown protocol %q", to.Protocol)
	}
}

func stream(to target, deadline time.Time) (string, error) {
	dialer := net.Dialer{Deadline: deadline}
	if to.From != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(to.From)}
	}
	connection, err := dialer.Dial("tcp", to.Address)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	connection.SetDeadline(deadline)
	said, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return "", errors.New("mute")
	}
	return strings.TrimSpace(said), nil
}

// datagram sends again and again, as one datagram may be lost for other reasons than a policy.
func datagram(to target, deadline time.Time) (string, error) {
	dialer := net.Dialer{}
	if to.From != "" {
		dialer.LocalAddr = &net.UDPAddr{IP: net.ParseIP(to.From)}
	}
	socket, err := dialer.Dial("udp", to.Address)
	if err != nil {
		return "", err
	}
	defer socket.Close()
	packet := make([]byte, 1500)
	for {
		if _, err := socket.Write([]byte("who?")); err != nil {
			return "", err
		}
		socket.SetReadDeadline(earlier(deadline, time.Now().Add(300*time.Millisecond)))
		length, err := socket.Read(packet)
		if err == nil || !time.Now().Before(deadline) || !isTimeout(err) {
			return string(packet[:length]), err
		}
	}
}

// relay passes what comes on: two of them, with a file between, join two networks at one port.
func relay(from, to string) error {
	network, address, _ := strings.Cut(from, ":")
	if network == "unix" {
		os.Remove(address)
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	network, address, _ = strings.Cut(to, ":")
	for {
		near, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer near.Close()
			far, err := net.Dial(network, address)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return
			}
			defer far.Close()
			done := make(chan struct{}, 2)
			pass := func(into, out net.Conn) {
				io.Copy(into, out)
				done <- struct{}{}
			}
			go pass(far, near)
			go pass(near, far)
			<-done
		}()
	}
}

// hold prints when something came back, in milliseconds since 1970, and returns once nothing has for three seconds.
func hold(address string) error {
	connection, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer connection.Close()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	lines := bufio.NewReader(connection)
	for count := 0; ; count++ {
		connection.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err := lines.ReadString('\n'); err != nil {
			fmt.Println("ended", reason(err))
			return nil
		}
		fmt.Println("heard", time.Now().UnixMilli())
		time.Sleep(20 * time.Millisecond)
		if _, err := fmt.Fprintln(connection, count); err != nil {
			fmt.Println("ended", reason(err))
			return nil
		}
	}
}

// knock tries from the first moment on, one try over the other, and prints how each one ended.
func knock(addresses []string) {
	began := time.Now()
	for _, address := range addresses {
		go func() {
			for {
				at := time.Since(began).Milliseconds()
				_, err := stream(target{Address: address}, time.Now().Add(time.Second))
				fmt.Println("knock", at, address, orReached(reason(err)))
				time.Sleep(5 * time.Millisecond)
			}
		}()
	}
	wait()
}

func orReached(reason string) string {
	if reason == "" {
		return "reached"
	}
	return reason
}

func reason(err error) string {
	switch {
	case err == nil:
		return ""
	case isTimeout(err):
		return "silent"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	default:
		return err.Error()
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func earlier(one, other time.Time) time.Time {
	if one.Before(other) {
		return one
	}
	return other
}
