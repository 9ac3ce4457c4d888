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
  probe serve NAME tcp:PORT|udp:PORT|dns:PORT ...   answer there, until ended
  probe ask SECONDS                                 try the targets (JSON) of standard input
  probe hold ADDRESS                                talk over one connection, until it is silent
  probe knock ADDRESS ...                           try without a pause, until ended
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
		kind, port, _ := strings.Cut(door, ":")
		if kind == "tcp" || kind == "dns" {
			listener, err := net.Listen("tcp", ":"+port)
			if err != nil {
				return err
			}
			go accept(listener, name, kind)
		}
		if kind == "udp" || kind == "dns" {
			socket, err := net.ListenPacket("udp", ":"+port)
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
	Name     string `json:"name,omitempty"` // what to resolve
}

type result struct {
	Answer string `json:"answer"` // the name of who answered, or an address for a name
	Error  string `json:"error"`  // "silent", "refused" or what else went wrong
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
		return datagram(to.Address, deadline)
	}
	connection, err := net.DialTimeout("tcp", to.Address, time.Until(deadline))
	if err != nil {
		return "", err
	}
	defer connection.Close()
	connection.SetDeadline(deadline)
	said, err := bufio.NewReader(connection).ReadString('\n')
	return strings.TrimSpace(said), err
}

// datagram sends again and again, as one datagram may be lost for other reasons than a policy.
func datagram(address string, deadline time.Time) (string, error) {
	socket, err := net.Dial("udp", address)
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

// hold prints what comes back each time, and returns once nothing has for a second.
func hold(address string) error {
	connection, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer connection.Close()
	lines := bufio.NewReader(connection)
	for count := 0; ; count++ {
		connection.SetDeadline(time.Now().Add(time.Second))
		said, err := lines.ReadString('\n')
		if err != nil {
			fmt.Println("ended", reason(err))
			return nil
		}
		fmt.Print("heard ", said)
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
				_, err := try(target{Protocol: "tcp", Address: address}, time.Now().Add(time.Second))
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
